"""
Every operation of the OpenAPI document with values that schemathesis makes up, valid and not, as nobody, a user and an
admin, on real stores: no answer but those that are documented. GODOCKER_LONG_TESTS makes it longer.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import errors as hypothesis_errors
from hypothesis import settings as hypothesis_settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from services.api import app
from shared.models.user import User
from shared.settings import Settings
from tests.support.harness import gateway
from tests.support.harness.gateway import Gateway

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
EXAMPLES = {GenerationMode.POSITIVE: 100 if LONG else 5, GenerationMode.NEGATIVE: 60 if LONG else 3}
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


def operations() -> Iterator[Any]:
    schema = schemathesis.openapi.from_dict(app.document().openapi())
    for found in schema.get_all_operations():
        operation = found.ok()
        assert operation is not None, found
        yield operation


class Caller:
    """One of the three callers, restored before each request."""

    def __init__(self, made: Gateway, role: str) -> None:
        self._gateway = made
        self._role = role
        self.statuses: Counter[int] = Counter()

    async def ask(self, case: schemathesis.Case) -> httpx.Response:
        wanted = case.as_transport_kwargs(base_url="http://gateway")
        request = {name: wanted[name] for name in ("method", "url", "json", "data", "params") if wanted.get(name)}
        if isinstance(request.get("data"), bytes | str):
            request["content"] = request.pop("data")
        headers = {name: value for name, value in (wanted.get("headers") or {}).items() if _is_sendable(name, value)}
        if self._role != "anonymous":
            headers["Authorization"] = f"Bearer {self._gateway.token(await self._user())}"
        answer = await self._gateway.http.request(**request, headers=headers)
        self.statuses[answer.status_code] += 1
        return answer

    async def _user(self) -> User:
        user = await self._gateway.stores.users.get(self._role)
        if user is None or user.deleting or not user.active:
            await self._gateway.stores.database["users"].delete_one({"_id": self._role})
            user = await self._gateway.add_user(self._role, admin=self._role == "admin", email="somebody@lab.test")
        return user


def _is_sendable(name: str, value: str) -> bool:
    return name.lower() != "authorization" and value.isascii() and value.isprintable()


def check(case: schemathesis.Case, answer: httpx.Response) -> None:
    assert answer.status_code < 500 or _is_absent_service(answer), f"{answer.status_code}: {answer.text[:500]}"
    case.validate_response(answer, checks=CHECKS)


def _is_absent_service(answer: httpx.Response) -> bool:
    """Return whether the answer is due to the missing files service."""
    said = answer.json()
    return answer.status_code == 503 and (said.get("code") == "files_unavailable" or said.get("status") == "degraded")


def try_operation(operation: Any, caller: Caller, mode: GenerationMode, loop: asyncio.AbstractEventLoop) -> None:
    """Try one operation; blocks, so run it in a thread."""

    @hypothesis_settings(
        max_examples=EXAMPLES[mode],
        database=None,
        deadline=None,
        derandomize=not LONG,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case) -> None:
        check(case, asyncio.run_coroutine_threadsafe(caller.ask(case), loop).result(30))

    try:
        run()
    except (hypothesis_errors.Unsatisfiable, hypothesis_errors.InvalidArgument):
        assert mode is GenerationMode.NEGATIVE, f"no valid request can be made up for {operation.label}"


@pytest.mark.timeout(1800 if LONG else 150)
@pytest.mark.parametrize("role", ["anonymous", pytest.param("user", marks=pytest.mark.long), "admin"])
async def test_every_generated_request_gets_a_documented_answer(settings: Settings, role: str) -> None:
    loop = asyncio.get_running_loop()
    failures: list[str] = []
    async with gateway.opened(settings.model_copy(update={"authenticate_limit": 100_000})) as made:
        await made.stores.ensure_indexes()
        caller = Caller(made, role)
        for operation in operations():
            for mode in EXAMPLES:
                try:
                    await asyncio.to_thread(try_operation, operation, caller, mode, loop)
                except (Exception, BaseExceptionGroup) as error:  # all failures together say more than the first
                    failures.append(f"{operation.label} ({mode.name.lower()}): {error}"[:1500])
    print(f"{role}: {sum(caller.statuses.values())} requests, {dict(sorted(caller.statuses.items()))}")
    assert not failures, f"{len(failures)} operations:\n" + "\n".join(failures)
    assert sum(caller.statuses.values()) > 100
