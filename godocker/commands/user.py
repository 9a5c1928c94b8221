"""`godocker user`: make, list, activate and delete users, and give them new keys."""

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

app = typer.Typer(help="Make, list, activate and delete users.", no_args_is_help=True)

_NUMBER = typer.Option(min=0, max=2**31 - 1, help="Default: that of the system account, else the next free one.")


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="user")


@app.command()
def add(
    login: str,
    admin: Annotated[bool, typer.Option("--admin", help="May manage everybody's tasks.")] = False,
    uid: Annotated[int | None, _NUMBER] = None,
    gid: Annotated[int | None, _NUMBER] = None,
    home: Annotated[str | None, typer.Option(help="Home directory on the hosts.")] = None,
    email: str | None = None,
    guest: Annotated[bool, typer.Option("--guest", help="Runs as `guest_bind`; to be activated.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Make a user and print its API key, which is shown this once."""
    new = accounts.NewUser(login, admin=admin, uid=uid, gid=gid, home=home, email=email, guest=guest)
    apikey = asyncio.run(accounts.add(options.load(config, data_dir), new))
    print(json.dumps({"id": login, "apikey": apikey}))


@app.command()
def first(config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Make the user admin where there is no user at all, and print its API key, which is shown this once."""
    apikey = asyncio.run(accounts.add_first(options.load(config, data_dir)))
    if apikey is None:
        print("there are users already")
    else:
        print(json.dumps({"id": accounts.ADMIN, "apikey": apikey}))


@app.command()
def key(login: str, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Give a user a new API key, which is shown this once; the old one is void at once."""
    apikey = asyncio.run(accounts.replace_key(options.load(config, data_dir), login))
    print(json.dumps({"id": login, "apikey": apikey}))


@app.command()
def activate(
    login: str,
    off: Annotated[bool, typer.Option("--off", help="Shut the user out instead.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Let a user in, a guest for example."""
    asyncio.run(accounts.activate(options.load(config, data_dir), login, active=not off))
    print(f"{login} is {'shut out' if off else 'active'}")


@app.command()
def delete(
    login: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Delete a user with their tasks, files and usage. This cannot be undone."""
    if not yes:
        typer.confirm(f"Delete {login} with all tasks, files and usage?", abort=True)
    asyncio.run(accounts.delete(options.load(config, data_dir), login))
    print(f"{login} is shut out, and is deleted by the watcher")


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
