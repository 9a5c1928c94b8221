"""`godocker token`: add, list and delete application tokens."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Annotated

import typer

from godocker.commands.common import checked, options, tables
from shared import clock, errors
from shared.auth import app_tokens
from shared.models.app_token import AppToken
from shared.settings import Settings
from shared.store import stores

app = typer.Typer(help="Add, list and delete application tokens.", no_args_is_help=True)

NAME_LENGTH = 100  #: characters, as in the Web API


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="token")


@app.command()
def add(
    login: options.Login,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the application.")],
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Add a token for an application of a user, and print it. The token is shown only once."""
    checked.line("name", name, most=NAME_LENGTH)
    token_id, secret = asyncio.run(_add(options.load(config, data_dir), login, name))
    print(json.dumps({"id": token_id, "token": secret}))


@app.command("list")
def list_tokens(
    login: options.Login,
    as_json: tables.AsJson = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """List the tokens of a user."""
    tokens = asyncio.run(_of(options.load(config, data_dir), login))
    if as_json:
        tables.show_json([token.model_dump(exclude={"hash"}) for token in tokens])
        return
    rows = [
        (token.id, token.name, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(token.created_at))) for token in tokens
    ]
    tables.show(("id", "name", "created"), rows)


@app.command()
def delete(
    login: options.Login,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, from `godocker token list`.")],
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Delete a token of a user."""
    asyncio.run(_delete(options.load(config, data_dir), login, token_id))
    print(f"deleted token {token_id} of {login}")


async def _add(settings: Settings, login: str, name: str) -> tuple[str, str]:
    async with stores.connect(settings) as store:
        if await store.users.get(login) is None:
            raise errors.NotFound(f"there is no user {login}")
        secret, digest = app_tokens.generate()
        token = AppToken(id=secrets.token_hex(8), user=login, name=name, hash=digest, created_at=clock.now())
        await store.app_tokens.add(token)
        return token.id, secret


async def _of(settings: Settings, login: str) -> list[AppToken]:
    async with stores.connect(settings) as store:
        if await store.users.get(login) is None:
            raise errors.NotFound(f"there is no user {login}")
        return await store.app_tokens.of_user(login)


async def _delete(settings: Settings, login: str, token_id: str) -> None:
    async with stores.connect(settings) as store:
        if not await store.app_tokens.remove(login, token_id):
            raise errors.NotFound(f"{login} has no token {token_id}")
