"""The class of all routes: strict about what a request says, and careful about when."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import Scope

from services.api.http import bodies, json_problems, queries, targets
from services.api.wire.answers import Json
from shared import errors

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_CHANGES = "__changes_something__"
_READS = frozenset({"GET", "HEAD"})
_JSON = (b"content-type", b"application/json")


def changes(endpoint: Endpoint) -> Endpoint:
    """Mark what changes something though it is a GET, as the reference has some. Of other methods that is understood."""
    setattr(endpoint, _CHANGES, True)
    return endpoint


class StrictRoute(APIRoute):
    """A route whose bodies are JSON, whatever the client calls them, and are parsed strictly, as are the names of parameters."""

    @property
    def changes_something(self) -> bool:
        """Whether a request may leave anything other than it was."""
        return not (self.methods or _READS) <= _READS or hasattr(self.endpoint, _CHANGES)

    def get_route_handler(self) -> Handler:
        handler, looking = super().get_route_handler(), self._looking_handler()
        known, changes_something = queries.declared(self.dependant), self.changes_something

        async def strict(request: Request) -> Response:
            queries.check_names(request)
            if changes_something:
                try:
                    queries.check(request, known)
                except errors.InvalidInput as problem:
                    raise await _first(problem, looking(request)) from None
                if request.scope.get(targets.LOOKS):
                    return await looking(
                        request
                    )  # HEAD is safe (RFC 9110, 9.2.1), also where the reference's GET is not
            if bodies.is_asked_for(request.scope):
                await looking(request)  # before the client is told to send it
            sent = _StrictRequest(_called_json(request.scope), request.receive)
            if self.body_field is not None:
                await sent.parse()
            return await handler(sent)

        return strict

    def _looking_handler(self) -> Handler:
        """The handler without its body and what it does: who asks, and for what, is checked all the same."""
        route = copy.copy(self)
        route.dependant = dataclasses.replace(self.dependant, call=_nothing, body_params=[])
        route.body_field = None
        return APIRoute.get_route_handler(route)


async def _first(problem: errors.InvalidInput, look: Coroutine[Any, Any, Response]) -> errors.RequestError:
    """The error that a caller is told first: whoever is nobody is told that, and not what a route could be asked."""
    try:
        await look
    except errors.NotAuthenticated as error:
        return error
    except (errors.RequestError, RequestValidationError):
        pass
    return problem


async def _nothing(**_: Any) -> Json:
    return Json(None)


class _StrictRequest(Request):
    async def parse(self) -> None:
        """Read the body, for `json` to give. Raises `errors.InvalidInput`, which in `json` the framework would make a 400 of."""
        if body := await self.body():
            try:
                # orjson refuses what the standard library lets pass: NaN, lone surrogates, nesting without end.
                self._json = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                raise errors.InvalidInput.of("body", json_problems.sentence(body, error)) from None


def _called_json(scope: Scope) -> Scope:
    """
    The request as if its body were declared as JSON. The original took every body for that; `curl -d` without a header calls it a
    form, and there are no forms here.
    """
    if _JSON in scope["headers"] and sum(name == _JSON[0] for name, _ in scope["headers"]) == 1:
        return scope
    headers = [header for header in scope["headers"] if header[0] != _JSON[0]]
    return {**scope, "headers": [*headers, _JSON]}
