"""Ask the leading scheduler why a task is pending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import orjson
import structlog

from shared import clock, errors
from shared.auth import service_tokens
from shared.models.system.lease import SCHEDULER
from shared.settings import Settings
from shared.store.system.leases import LeaseStore

log = structlog.get_logger(__name__)

_TIMEOUT = httpx.Timeout(5.0, connect=2.0)


class LeadingScheduler:
    """Client of the scheduler that holds the lease."""

    def __init__(self, settings: Settings, leases: LeaseStore) -> None:
        self._key = service_tokens.key(settings.secret_passphrase.get_secret_value())
        self._leases = leases
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def explain(self, task_id: int) -> dict[str, Any] | None:
        """
        Return why the task is pending, in the form of `services/scheduler/why_pending/explanation.py`; None if it no
        longer is. Raises `errors.SchedulerUnavailable` and `errors.StoreUnavailable`.
        """
        return await self._ask("GET", f"/explain/{task_id}")

    async def explain_unsent(self, pending: Mapping[str, Any]) -> dict[str, Any]:
        """Return why a task that is not stored would wait; `pending` has the fields of `Pending`."""
        explanation = await self._ask("POST", "/explain", content=orjson.dumps(pending))
        if explanation is None:
            raise errors.SchedulerUnavailable("the scheduler has no explanation")
        return explanation

    async def _ask(self, method: str, path: str, *, content: bytes | None = None) -> dict[str, Any] | None:
        url = await self._leases.url_of(SCHEDULER)
        if url is None:
            raise errors.SchedulerUnavailable("no scheduler leads at the moment")
        token = service_tokens.make(key=self._key, now=clock.now())
        try:
            answer = await self._client.request(
                method, f"{url}{path}", content=content, headers={"Authorization": f"Bearer {token}"}
            )
        except httpx.HTTPError as error:
            raise errors.SchedulerUnavailable(f"the scheduler does not answer: {type(error).__name__}") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            log.error("scheduler.not_understood", status=answer.status_code, path=path)
            raise errors.SchedulerUnavailable(f"the scheduler answered {answer.status_code}")
        document: dict[str, Any] = orjson.loads(answer.content)
        return document
