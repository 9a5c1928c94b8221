"""A session token is valid for its user, purpose and time only, and nothing else is one."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jose import jwt

from shared import clock, errors
from shared.auth import apikeys, tokens

SECRET = "0123456789abcdef" * 4
KEY = apikeys.generate().stored.hash


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a valid session; a change to None leaves one out."""
    now = int(time.time())
    good = {
        "iss": "godocker",
        "aud": "session",
        "sub": "alice",
        "key": tokens.fingerprint(KEY),
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(content: dict[str, Any], *, key: str = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    return str(jwt.encode(content, key, algorithm=algorithm, headers=headers or None))


def unsigned(content: dict[str, Any], algorithm: Any, signature: bytes = b"") -> str:
    parts = (json.dumps({"alg": algorithm, "typ": "JWT"}).encode(), json.dumps(content).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def refused(token: str, secret: str = SECRET) -> str:
    with pytest.raises(errors.NotAuthenticated) as caught:
        tokens.read_session(token, secret=secret)
    return str(caught.value)


def test_a_session_says_who_it_is_and_for_which_key() -> None:
    token = tokens.make_session("alice", KEY, secret=SECRET, now=time.time(), seconds=60)
    assert tokens.read_session(token, secret=SECRET) == tokens.Session("alice", tokens.fingerprint(KEY))


def test_the_claims_that_forgeries_are_made_from_are_good_ones() -> None:
    assert tokens.read_session(signed(claims()), secret=SECRET).user == "alice"


def test_a_token_keeps_nothing_of_the_key_that_could_be_used() -> None:
    token = tokens.make_session("alice", KEY, secret=SECRET, now=time.time(), seconds=60)
    assert KEY not in json.dumps(jwt.get_unverified_claims(token))


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", "", None, [], "HS256 ", "hs256", "RS256", 256])
@pytest.mark.parametrize("signature", [b"", b"x", b"\0" * 32])
def test_a_token_cannot_choose_how_it_is_checked(algorithm: Any, signature: bytes) -> None:
    refused(unsigned(claims(), algorithm, signature))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_with_the_right_key_is_refused(algorithm: str) -> None:
    refused(signed(claims(), algorithm=algorithm))


@pytest.mark.parametrize("key", ["", "secret", SECRET[:-1], SECRET + " ", SECRET.upper()])
def test_a_token_signed_with_another_key_is_refused(key: str) -> None:
    refused(signed(claims(), key=key))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"exp": "never"},
        {"exp": [10**10]},
        {"iat": None},
        {"iat": "x"},
        {"sub": None},
        {"sub": 1},
        {"sub": ["alice"]},
        {"aud": None},
        {"aud": "share"},
        {"aud": ""},
        {"aud": ["share"]},
        {"aud": {"session": 1}},
        {"iss": None},
        {"iss": "somebody"},
        {"key": None},
        {"key": 1},
        {"key": {"$ne": ""}},
        {"nbf": 4_102_444_800},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_or_missing_claim_is_refused(changes: dict[str, Any]) -> None:
    refused(signed(claims(**changes)))


@pytest.mark.parametrize("headers", [{"kid": "../../dev/null"}, {"jku": "http://127.0.0.1/"}, {"x5u": "file:///"}])
def test_a_header_cannot_name_another_key(headers: dict[str, str]) -> None:
    refused(signed(claims(), key="", **headers))
    refused(signed(claims(), key="another key altogether", **headers))


def test_a_token_that_is_too_long_is_rejected_unread() -> None:
    assert "one of ours" in refused(signed(claims(padding="x" * 8000)))


def test_a_token_whose_content_was_changed_is_refused() -> None:
    header, _, signature = signed(claims()).split(".")
    _, changed, _ = unsigned(claims(sub="admin"), "HS256").split(".")
    refused(f"{header}.{changed}.{signature}")


@pytest.mark.parametrize("payload", ["[]", "null", '"alice"', "1", "{", ""])
def test_a_signed_payload_that_is_no_object_is_refused(payload: str) -> None:
    from jose import jws

    refused(jws.sign(payload.encode(), SECRET, algorithm="HS256"))


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}"))
def test_any_other_text_is_rejected_with_one_error(text: str) -> None:
    refused(text)


# --- API keys ---------------------------------------------------------------------------


def test_only_the_key_itself_matches_its_hash() -> None:
    key, other = apikeys.generate(), apikeys.generate()
    assert apikeys.matches(key.secret, key.stored)
    for wrong in ("", other.secret, key.secret[:-1], f"{key.secret} ", key.secret.swapcase(), key.stored.hash):
        assert not apikeys.matches(wrong, key.stored)


def test_the_stored_hash_does_not_reveal_the_key() -> None:
    key = apikeys.generate()
    assert len(key.secret) >= 40
    assert key.secret not in key.stored.model_dump_json()
    assert key.stored.hint == key.secret[:6]


@given(st.text())
def test_no_text_is_the_key_of_nobody(text: str) -> None:
    assert not apikeys.matches(text, apikeys.NOBODY)


def test_a_token_that_was_good_a_moment_ago_is_refused_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed(claims())
    tokens.read_session(token, secret=SECRET)
    monkeypatch.setattr(clock, "now", lambda: time.time() + 601)
    assert "the token has expired" in refused(token)


def test_a_token_that_was_good_a_moment_ago_is_refused_with_another_key() -> None:
    token = signed(claims())
    tokens.read_session(token, secret=SECRET)
    refused(token, secret=SECRET[::-1])
