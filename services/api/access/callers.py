"""Authenticate the caller of a request by their token."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.api import context as contexts
from shared import errors
from shared.auth import tokens
from shared.models.user import User

TOKEN_NEEDED = "a token is needed: Authorization: Bearer <token>"  # noqa: S105 - a sentence

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="User_token",
    description="User token: what `POST /api/1.0/authenticate` answers. **This is the one you need.**",
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


async def caller(request: Request, credentials: _Credentials) -> User:
    """Return the user of a request's token, as they are now. Raises `errors.NotAuthenticated`."""
    if credentials is None:
        raise errors.NotAuthenticated(TOKEN_NEEDED)
    context = contexts.of(request)
    secret = context.settings.secret_passphrase.get_secret_value()
    session = tokens.read_session(credentials.credentials, secret=secret)
    user = await context.users.ask(session.user)
    if user is None or not user.active:
        raise errors.NotAuthenticated("the user of this token no longer exists or is not active")
    # As bytes: compare_digest takes only ASCII in a str.
    if not hmac.compare_digest(tokens.fingerprint(user.apikey.hash, user.shut_outs).encode(), _bytes(session.key)):
        raise errors.NotAuthenticated(
            "the token is older than the user's current API key, or the user was deactivated since"
        )
    return user


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


async def maybe_caller(request: Request, credentials: _Credentials) -> User | None:
    """Return the caller; None without a token. A bad token is refused all the same."""
    return None if credentials is None else await caller(request, credentials)


Caller = Annotated[User, Depends(caller)]
MaybeCaller = Annotated[User | None, Depends(maybe_caller)]
