"""Make a fresh mongod the primary of a replica set of one, which transactions need, and create its users."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
from pymongo import errors as mongo_errors

NAME = "rs0"
_LOOPBACK = "127.0.0.1"
_TIMEOUT_MS = 300
_AUTHENTICATION_FAILED = 18


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str


Address = Path | int  #: of the server: its socket, or its port on this machine


def make_ready(address: Address, login: Login | None, *, host: str | None = None) -> bool:
    """
    Take the next step towards a writable primary that knows `login`; True once it is one. Each step looks at what
    is there, so that a start that was cut short at any point is finished by the next. `host` is where others reach the port of
    the server, and it reaches itself; None: nobody does from another machine.
    """
    with contextlib.suppress(mongo_errors.PyMongoError), _connect(address, None) as client:
        if not client.admin.command("hello").get("isWritablePrimary"):
            _become_primary(client, address, login, member_of(address, host))
            return False
        return login is None or _knows(address, login) or _create_user(client, login)
    return False


def allow(address: Address, login: Login, new: Login, *, database: str) -> bool:
    """
    Make `new`, who may read and write `database` and nothing else, with the rights of `login`; one who is there stays as
    they are. False where the server did not answer.
    """
    with contextlib.suppress(mongo_errors.PyMongoError), _connect(address, login) as client:
        if not client.admin.command("usersInfo", new.user)["users"]:
            roles = [{"role": "readWrite", "db": database}]
            client.admin.command("createUser", new.user, pwd=new.password, roles=roles)
        return True
    return False


def member_of(address: Address, host: str | None) -> str:
    """By what name the server is a member of its set."""
    return str(address) if isinstance(address, Path) else f"{host or _LOOPBACK}:{address}"


def _become_primary(client: Any, address: Address, login: Login | None, name: str) -> None:
    hello = client.admin.command("hello")
    if hello.get("setName"):
        return  # it is about to elect itself
    member = {"_id": 0, "host": name}
    try:
        client.admin.command("replSetInitiate", {"_id": NAME, "members": [member]})
    except mongo_errors.OperationFailure:
        # It has a configuration already. With another port or socket in it than today's, the node does not find itself in its own
        # set and stays out of it until that is corrected by force.
        with _connect(address, login) as admin:
            config = admin.admin.command("replSetGetConfig")["config"]
            if config["members"][0]["host"] != member["host"]:
                config["members"][0]["host"] = member["host"]
                config["version"] += 1
                admin.admin.command("replSetReconfig", config, force=True)


def _knows(address: Address, login: Login) -> bool:
    try:
        with _connect(address, login) as client:
            client.admin.command("ping")
    except mongo_errors.OperationFailure as error:
        if error.code == _AUTHENTICATION_FAILED:
            return False
        raise
    return True


def _create_user(client: Any, login: Login) -> bool:
    # Allowed without a login from the same machine as long as there is no user at all ("localhost exception").
    client.admin.command("createUser", login.user, pwd=login.password, roles=["root"])
    return True


def _connect(address: Address, login: Login | None) -> Any:
    where = quote(str(address), safe="") if isinstance(address, Path) else f"{_LOOPBACK}:{address}"
    return pymongo.MongoClient(
        f"mongodb://{where}",
        directConnection=True,
        serverSelectionTimeoutMS=_TIMEOUT_MS,
        connectTimeoutMS=1000,
        socketTimeoutMS=10_000,
        username=login.user if login else None,
        password=login.password if login else None,
    )
