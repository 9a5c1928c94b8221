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
#: Settings of a new set. They matter once it has further members, and then bound the pause when the primary fails: the others
#: elect a new one after the first time. If the old one hangs, the new one waits the second time for its answer before it takes
#: writes. Both are 10 s by default, see "settings" in https://www.mongodb.com/docs/manual/reference/replica-configuration/
SETTINGS = {"electionTimeoutMillis": 5000, "heartbeatTimeoutSecs": 3}
_TIMEOUT_MS = 300
_AUTHENTICATION_FAILED = 18


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str


Address = Path | int  #: socket of the server, or its port on this machine


def make_ready(address: Address, login: Login | None, *, host: str | None = None) -> bool:
    """
    Take the next step towards a writable primary that accepts `login`; return whether it is one. Each step checks the current
    state, so a start that was interrupted at any point is completed by the next. `host` is the name at which other machines and
    the server itself reach its port; None: only this machine does.
    """
    with contextlib.suppress(mongo_errors.PyMongoError), _connect(address, None) as client:
        if not client.admin.command("hello").get("isWritablePrimary"):
            _become_primary(client, address, login, member_of(address, host))
            return False
        return login is None or _accepts(address, login) or _create_user(client, login)
    return False


def allow(address: Address, login: Login, new: Login, *, database: str) -> bool:
    """
    Create the user `new`, with access to `database` only, using the rights of `login`; an existing user is not changed. Return
    False if the server does not answer.
    """
    with contextlib.suppress(mongo_errors.PyMongoError), _connect(address, login) as client:
        if not client.admin.command("usersInfo", new.user)["users"]:
            roles = [{"role": "readWrite", "db": database}]
            client.admin.command("createUser", new.user, pwd=new.password, roles=roles)
        return True
    return False


def member_of(address: Address, host: str | None) -> str:
    """Return the name under which the server is a member of its set."""
    return str(address) if isinstance(address, Path) else f"{host or _LOOPBACK}:{address}"


def _become_primary(client: Any, address: Address, login: Login | None, name: str) -> None:
    hello = client.admin.command("hello")
    if hello.get("setName"):
        return  # it will elect itself
    member = {"_id": 0, "host": name}
    try:
        client.admin.command("replSetInitiate", {"_id": NAME, "members": [member], "settings": SETTINGS})
    except mongo_errors.OperationFailure:
        # A configuration exists. If it has another port or socket, the node does not find itself in the set and stays out until
        # the configuration is corrected by force.
        with _connect(address, login) as admin:
            config = admin.admin.command("replSetGetConfig")["config"]
            if config["members"][0]["host"] != member["host"]:
                config["members"][0]["host"] = member["host"]
                config["version"] += 1
                admin.admin.command("replSetReconfig", config, force=True)


def _accepts(address: Address, login: Login) -> bool:
    try:
        with _connect(address, login) as client:
            client.admin.command("ping")
    except mongo_errors.OperationFailure as error:
        if error.code == _AUTHENTICATION_FAILED:
            return False
        raise
    return True


def _create_user(client: Any, login: Login) -> bool:
    # Allowed without a login from the same machine while there are no users ("localhost exception").
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
