"""Manage application tokens, by which an application can ask who its user is."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from services.api.access.callers import Caller
from services.api.context import ContextDep
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire import user as user_wire
from services.api.wire.answers import AppTokenMade, AppTokenOut, Message
from services.api.wire.fields import Line
from services.api.wire.user import UserOut
from shared import clock, errors
from shared.auth import app_tokens
from shared.models.app_token import AppToken

router = routers.make("application tokens")

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="Application_token_for_services",
    bearerFormat="JWT",
    description='Application token, for services: a JWT `{"app_token": <the token>}`, signed with '
    "`shared_secret_passphrase` (HS256). Users do not need it.",
)
_TOKEN_LENGTH = 128


class NewToken(BaseModel):
    """An application token to create."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"name": "notebook"}]})

    name: Annotated[Line, Field(min_length=1, max_length=100, description="Name of the application")]


@router.get(
    "/app/token", response_model=list[AppTokenOut], responses=AUTHENTICATED, summary="List your application tokens"
)
async def list_app_tokens(context: ContextDep, caller: Caller) -> Json:
    tokens = await context.stores.app_tokens.of_user(caller.id)
    return Json([{"id": token.id, "name": token.name, "date": token.created_at} for token in tokens])


@router.post(
    "/app/token",
    response_model=AppTokenMade,
    responses=AUTHENTICATED | responses(409),
    summary="Create an application token",
)
async def create_app_token(sent: NewToken, context: ContextDep, caller: Caller) -> Json:
    """The token is shown only this once."""
    secret, digest = app_tokens.generate()
    token_id = secrets.token_hex(8)
    token = AppToken(id=token_id, user=caller.id, name=sent.name, hash=digest, created_at=clock.now())
    await context.stores.app_tokens.add(token)
    return Json({"id": token_id, "token": secret})


@router.delete(
    "/app/token/{token_id}",
    response_model=Message,
    responses=AUTHENTICATED | responses(404),
    summary="Delete an application token",
)
async def delete_app_token(
    token_id: Annotated[str, Path(max_length=64, description="Id of the application token")],
    context: ContextDep,
    caller: Caller,
) -> Json:
    if not await context.stores.app_tokens.remove(caller.id, token_id):
        raise errors.NotFound(f"no application token {token_id}")
    return Json({"msg": "the application token is deleted"})


@router.get(
    "/app/token/{token}/user",
    response_model=UserOut,
    responses=AUTHENTICATED | responses(404),
    summary="Get the user of an application token, as the application",
)
async def get_app_token_user(
    token: Annotated[str, Path(max_length=_TOKEN_LENGTH, description="Application token")],
    context: ContextDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Json:
    """
    The bearer token is a JWT `{"app_token": <the same token>}` signed with `shared_secret_passphrase`, not a user
    token.
    """
    secret = context.settings.shared_secret_passphrase.get_secret_value()
    app_tokens.check_bearer(credentials.credentials if credentials else "", token, secret=secret)
    stored = await context.stores.app_tokens.by_hash(app_tokens.digest(token))
    owner = await context.users.ask(stored.user) if stored else None
    if owner is None or not owner.active:
        raise errors.NotFound("no such application token")
    return Json(user_wire.shown(owner))
