"""Log users in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from services.api.context import ContextDep
from services.api.http import routers
from services.api.http.errors import responses
from services.api.http.json_responses import Json
from services.api.wire.answers import Token
from shared import clock
from shared.auth import tokens

router = routers.make("session")


class Credentials(BaseModel):
    """User and API key to log in with."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"user": "admin", "apikey": "…"}]})

    user: Annotated[str, Field(max_length=64, description="Login of the user")]
    apikey: Annotated[str, Field(max_length=256, description="API key, or with LDAP the password")]


@router.post(
    "/authenticate",
    response_model=Token,
    responses=responses(401, 403, 429),
    summary="Get a token for a user and an API key",
)
async def authenticate(credentials: Credentials, request: Request, context: ContextDep) -> Json:
    """
    Send the token with every other request: `Authorization: Bearer <token>`.

    If users come from an LDAP directory, their password works like an API key.
    """
    address = request.client.host if request.client else "unknown"
    now = clock.now()
    user = await context.logins.log_in(credentials.user, credentials.apikey, address, now=now)
    secret = context.settings.secret_passphrase.get_secret_value()
    token = tokens.make_session(
        user.id,
        user.apikey.hash,
        secret=secret,
        now=now,
        seconds=context.settings.session_timeout,
        shut_outs=user.shut_outs,
    )
    await context.stores.users.note_login(user.id, at=now)
    return Json({"token": token})
