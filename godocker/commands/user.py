"""`godocker user`: make and list users."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from godocker import accounts
from godocker.commands import options
from shared.models.user import User

app = typer.Typer(help="Make and list users.", no_args_is_help=True)

_NUMBER = typer.Option(min=0, max=2**31 - 1, help="Default: that of the system account, else the next free one.")


@app.command()
def add(
    login: str,
    admin: Annotated[bool, typer.Option("--admin", help="May manage everybody's tasks.")] = False,
    uid: Annotated[int | None, _NUMBER] = None,
    gid: Annotated[int | None, _NUMBER] = None,
    home: Annotated[str | None, typer.Option(help="Home directory on the hosts.")] = None,
    email: str | None = None,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Make a user and print its API key, which is shown this once."""
    new = accounts.NewUser(login, admin=admin, uid=uid, gid=gid, home=home, email=email)
    apikey = asyncio.run(accounts.add(options.load(config, data_dir), new))
    print(json.dumps({"id": login, "apikey": apikey}))


@app.command("list")
def list_users(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """List the users."""
    users = asyncio.run(accounts.every(options.load(config, data_dir)))
    if as_json:
        print(json.dumps([_shown(user) for user in users]))
        return
    table = Table("user", "uid", "gid", "admin", "active", "email", "home", "key")
    for user in users:
        table.add_row(
            user.id,
            str(user.uid),
            str(user.gid),
            "yes" if user.admin else "",
            "yes" if user.active else "no",
            user.email or "",
            user.home or "",
            f"{user.apikey.hint}…",
        )
    Console().print(table)


def _shown(user: User) -> dict[str, object]:
    shown = user.model_dump(exclude={"apikey"}, by_alias=False)
    return {**shown, "apikey": f"{user.apikey.hint}…"}
