"""`godocker token`: make, list and delete application tokens."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from godocker.commands import options
from shared import clock, errors
from shared.auth import app_tokens
from shared.models.app_token import AppToken
from shared.settings import Settings
from shared.store import stores

app = typer.Typer(help="Make, list and delete application tokens.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="token")


@app.command()
def add(login: str, name: str, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Make a token of a user for an application and print it; it is shown this once."""
    token_id, secret = asyncio.run(_add(options.load(config, data_dir), login, name))
    print(json.dumps({"id": token_id, "token": secret}))


@app.command("list")
def list_tokens(
    login: str,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """List the tokens of a user."""
    tokens = asyncio.run(_of(options.load(config, data_dir), login))
    if as_json:
        print(json.dumps([token.model_dump(exclude={"hash"}) for token in tokens]))
        return
    table = Table("id", "name", "made")
    for token in tokens:
        table.add_row(token.id, token.name, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(token.created_at)))
    Console().print(table)


@app.command()
def delete(login: str, token_id: str, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Delete a token of a user, by its id."""
    asyncio.run(_delete(options.load(config, data_dir), login, token_id))
    print(f"token {token_id} is deleted")


async def _add(settings: Settings, login: str, name: str) -> tuple[str, str]:
    async with stores.connect(settings) as store:
        if await store.users.get(login) is None:
            raise errors.NotFound(f"no user {login}")
        secret, digest = app_tokens.generate()
        token = AppToken(id=secrets.token_hex(8), user=login, name=name, hash=digest, created_at=clock.now())
        await store.app_tokens.add(token)
        return token.id, secret


async def _of(settings: Settings, login: str) -> list[AppToken]:
    async with stores.connect(settings) as store:
        return await store.app_tokens.of_user(login)


async def _delete(settings: Settings, login: str, token_id: str) -> None:
    async with stores.connect(settings) as store:
        if not await store.app_tokens.remove(login, token_id):
            raise errors.NotFound(f"{login} has no token {token_id}")
