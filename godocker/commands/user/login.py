"""`godocker login`, `logout`, `whoami` and `context`: choose the server and the user."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated
from urllib.parse import urlsplit

import typer

from godocker.commands.user.session import client, reported
from godocker_client import Client, contexts, errors
from godocker_client.contexts import Context, Contexts


def register(app: typer.Typer) -> None:
    for command in (login, logout, whoami, context):
        app.command()(command)


@reported
def login(
    url: Annotated[str | None, typer.Argument(metavar="URL", help="Address of the server.", show_default=False)] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="Login; asked for by default.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="API key; `-` reads it from standard input. Asked for by default.")
    ] = None,
    password: Annotated[bool, typer.Option("--password", help="Log in with a password instead of an API key.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Name of the context; default: the host.")] = None,
) -> None:
    """Log in to a server, and use it from now on."""
    known = contexts.load()
    before = known.by_name.get(name or known.current or "")
    address = url or (before.url if before else None) or typer.prompt("URL")
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise errors.InvalidTask(f"{address}: must be an address like http://godocker.lab:8080")
    login = user or (before.user if before else None) or typer.prompt("Login")
    secret = sys.stdin.readline().strip() if key == "-" else key
    secret = secret or typer.prompt("Password" if password else "API key", hide_input=True)
    with Client(
        address, user=login, password=secret if password else None, apikey=None if password else secret, patience=5
    ) as made:
        made.document(f"user/{login}")
        token = made.session.token
    chosen = name or str(urlsplit(address).hostname)
    # The password is not stored: the token alone is valid until it expires.
    made_one = Context(url=address, user=login, apikey=None if password else secret, token=token)
    contexts.save(Contexts(chosen, {**known.by_name, chosen: made_one}))
    print(f"logged in to {address} as {login}", file=sys.stderr)


@reported
def logout() -> None:
    """Forget the API key and the token of the current context."""
    known = contexts.load()
    if known.current is not None and known.current in known.by_name:
        forgotten = replace(known.by_name[known.current], apikey=None, token=None)
        contexts.save(Contexts(known.current, {**known.by_name, known.current: forgotten}))


@reported
def whoami() -> None:
    """Print the login and the server that commands use."""
    _, used = contexts.used()
    with client() as made:
        made.document("project" if used.user is None else f"user/{used.user}")
    print(f"{used.user or 'the user of GODOCKER_TOKEN'} at {used.url}")


@reported
def context(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Context to use from now on.")] = None,
) -> None:
    """List the contexts, or switch to one."""
    known = contexts.load()
    if name is None:
        for one, found in known.by_name.items():
            print(f"{'*' if one == known.current else ' '} {one}  {found.user or ''} at {found.url}")
        return
    if name not in known.by_name:
        raise errors.InvalidTask(f"there is no context {name}; there are {', '.join(known.by_name) or 'none'}")
    contexts.save(Contexts(name, known.by_name))
