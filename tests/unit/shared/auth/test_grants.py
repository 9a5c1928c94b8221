"""Grants of the gateway for the files service."""

from __future__ import annotations

from typing import Any

import pytest
from jose import jwt

from shared import clock, errors
from shared.auth import grants, tokens
from shared.auth.grants import Grant, Mode

SECRET = "0123456789abcdef" * 2


KEY = grants.key(SECRET)


READ = Grant("tasks/0/1", Mode.READ)


WRITE = Grant("users/alice", Mode.WRITE, (1, 2), 500)


@pytest.mark.parametrize("grant", [READ, WRITE])
def test_a_grant_carries_its_permissions(grant: Grant) -> None:
    assert grants.read(grants.make(grant, key=KEY, now=clock.now()), key=KEY) == grant


def test_a_grant_is_good_for_a_moment() -> None:
    claims = jwt.get_unverified_claims(grants.make(READ, key=KEY, now=1000.0))
    assert claims["exp"] - claims["iat"] <= 60
    with pytest.raises(errors.NotAuthenticated):
        grants.read(grants.make(READ, key=KEY, now=clock.now() - 61), key=KEY)


def test_a_grant_is_no_session_and_a_session_no_grant() -> None:
    grant = grants.make(READ, key=KEY, now=clock.now())
    session = tokens.make_session("alice", "0" * 64, secret=SECRET, now=clock.now(), seconds=600)
    for key in (KEY, SECRET):
        with pytest.raises(errors.NotAuthenticated):
            grants.read(session, key=key)
        with pytest.raises(errors.NotAuthenticated):
            tokens.read_session(grant, secret=key)


def signed(key: str = KEY, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {
        "iss": "godocker", "aud": "files", "dir": "users/a", "mode": "read", "owner": None, "quota": None,
        "iat": int(clock.now()), "exp": int(clock.now()) + 30,
    }  # fmt: skip
    claims |= changes
    return str(
        jwt.encode({name: value for name, value in claims.items() if value != "absent"}, key, algorithm=algorithm)
    )


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "x" * 5000,
        signed(key="another key"),
        signed(algorithm="HS512"),
        signed(aud="session"),
        signed(iss="somebody"),
        signed(exp="absent"),
        signed(iat="absent"),
        signed(aud="absent"),
        signed(dir="absent"),
        signed(dir=""),
        signed(dir=["a"]),
        signed(mode="everything"),
        signed(owner=["a", "b"]),
        signed(quota="much"),
        signed(exp=int(clock.now()) + 3600),
        # {"alg": "none"} . the same claims . no signature
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + signed().split(".")[1] + ".",
    ],
)
def test_nothing_else_is_a_grant(token: str) -> None:
    with pytest.raises(errors.NotAuthenticated):
        grants.read(token, key=KEY)
