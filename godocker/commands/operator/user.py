"""`godocker user`: add, list, activate and delete users, and replace their API keys."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated

import typer

from godocker.admin import accounts
from godocker.commands.common import checked, options, tables
from shared.models.user import User

app = typer.Typer(help="Add, list, activate and delete users, and replace their API keys.", no_args_is_help=True)

_NUMBER = typer.Option(
    min=0,
    max=2**31 - 1,
    metavar="NUMBER",
    help="Default: the number of the host's account of that name, else the next free one.",
)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="user")


@app.command()
def add(
    login: options.Login,
    admin: Annotated[bool, typer.Option("--admin", help="Let the user manage the whole system.")] = False,
    uid: Annotated[int | None, _NUMBER] = None,
    gid: Annotated[int | None, _NUMBER] = None,
    shared_uid: Annotated[
        bool,
        typer.Option("--shared-uid", help="Accept the uid of another user. Their tasks can change each other's files."),
    ] = False,
    home: Annotated[str | None, typer.Option(metavar="DIR", help="Home directory on the hosts.")] = None,
    email: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Mail address for notifications.")] = None,
    guest: Annotated[
        bool,
        typer.Option(
            "--guest", help="Make the user a guest, whose tasks run as the user `guest_bind` after activation."
        ),
    ] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Add a user and print the API key, which is shown only once."""
    checked.login("login", login)
    if home is not None:
        checked.line("home", home, most=4096)
    if email is not None:
        checked.email(email)
    new = accounts.NewUser(
        login, admin=admin, uid=uid, gid=gid, shared_uid=shared_uid, home=home, email=email, guest=guest
    )
    apikey = asyncio.run(accounts.add(options.load(config, data_dir), new))
    print(json.dumps({"id": login, "apikey": apikey}))


@app.command()
def first(config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Add the user admin if there are no users, and print the API key, which is shown only once."""
    apikey = asyncio.run(accounts.add_first(options.load(config, data_dir)))
    if apikey is None:
        print("there are already users: replace a lost key with `godocker user key admin`")
    else:
        print(json.dumps({"id": accounts.ADMIN, "apikey": apikey}))


@app.command()
def key(
    login: options.Login,
    everything: Annotated[
        bool, typer.Option("--all", help="Also revoke the application tokens and share tokens of the user.")
    ] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """
    Replace the API key of a user and print the new one, which is shown only once.

    The old one and all sessions stop working at once. Application tokens and share tokens stay valid unless you pass --all.
    """
    new = asyncio.run(accounts.replace_key(options.load(config, data_dir), login, everything=everything))
    print(json.dumps({"id": login, "apikey": new.apikey}))
    if new.still_valid:
        print(f"{new.still_valid}: --all revokes these as well", file=sys.stderr)


@app.command()
def activate(
    login: options.Login,
    off: Annotated[bool, typer.Option("--off", help="Deactivate the user.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Activate a user, for example a guest, or deactivate a user with --off."""
    asyncio.run(accounts.activate(options.load(config, data_dir), login, active=not off))
    print(f"{'deactivated' if off else 'activated'} {login}")


@app.command()
def delete(
    login: options.Login,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Delete a user with their tasks, files and usage. This cannot be undone."""
    if not yes:
        typer.confirm(f"Delete {login} with all tasks, files and usage?", abort=True)
    asyncio.run(accounts.delete(options.load(config, data_dir), login))
    print(f"deactivated {login}; the watcher deletes the tasks, the files and the user")


@app.command("list")
def list_users(as_json: tables.AsJson = False, config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """List the users."""
    users = asyncio.run(accounts.every(options.load(config, data_dir)))
    if as_json:
        tables.show_json([_details(user) for user in users])
        return
    tables.show(("user", "uid", "gid", "admin", "active", "email", "home", "key"), map(_cells, users))


def _cells(user: User) -> tuple[object, ...]:
    return (
        user.id,
        user.uid,
        user.gid,
        "yes" if user.admin else None,
        "yes" if user.active else "no",
        user.email,
        user.home,
        f"{user.apikey.hint}…",
    )


def _details(user: User) -> dict[str, object]:
    details = user.model_dump(exclude={"apikey"}, by_alias=False)
    return {**details, "apikey": f"{user.apikey.hint}…"}
