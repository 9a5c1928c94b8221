"""Answer usage and billing: sums of the usage rows, those of past months remembered."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import structlog

from services.api.context import Context
from shared import clock, errors
from shared.models import usage as model
from shared.models.usage import Subject

_PRODUCTS = frozenset({"core_seconds", "gb_seconds", "gpu_seconds"})  #: of amounts and times, task by task

log = structlog.get_logger(__name__)


async def days(here: Context, subject: Subject, name: str, *, since: float = 0) -> list[dict[str, Any]]:
    """One entry per UTC day of the window that has any usage, newest first. `since`: nothing from before counts."""
    start = model.window_start(clock.now(), days=here.settings.user_reset_usage_duration)
    found = await here.stores.usage.days(subject, name, since=max(start, since))
    return [_of_day(asdict(day)) for day in found]


async def month(
    here: Context, subject: Subject, name: str, *, year: int, month: int, force: bool, since: float = 0
) -> list[dict[str, Any]]:
    """
    Sums of a month per user and project. A month that is past is remembered in Redis, and read anew with `force`; without
    Redis it is read every time. `since`: nothing from before counts, and a month that began before is not remembered, nor
    looked for among those that are: they may be of another that had the name then.
    """
    start, end = bounds(year, month)
    past = start >= since and end <= clock.now()
    if past and not force:
        try:
            remembered = await here.broker.billing(subject, name, f"{year:04}-{month:02}")
            # What an earlier version remembered lacks the products: it is summed anew.
            if remembered is not None and all(row.keys() >= _PRODUCTS for row in remembered):
                return remembered
        except errors.BrokerUnavailable:
            log.warning("billing.not_remembered")
    rows = [
        _row(asdict(sums)) for sums in await here.stores.usage.month(subject, name, start=max(start, since), end=end)
    ]
    if past:
        try:
            await here.broker.remember_billing(subject, name, f"{year:04}-{month:02}", rows)
        except errors.BrokerUnavailable:
            log.warning("billing.not_remembered")
    return rows


def bounds(year: int, month: int) -> tuple[float, float]:
    """The first second of a month, and of the next one, UTC."""
    following = (year, month + 1) if month < 12 else (year + 1, 1)
    return datetime(year, month, 1, tzinfo=UTC).timestamp(), datetime(*following, 1, tzinfo=UTC).timestamp()


def _of_day(sums: dict[str, Any]) -> dict[str, Any]:
    return {
        "date": sums["day"],
        "cpu": sums["cpu"],
        "ram": sums["ram"],
        "time": sums["seconds"],
        "gpus": sums["gpus"],
        **{name: sums[name] for name in sorted(_PRODUCTS)},
    }


def _row(sums: dict[str, Any]) -> dict[str, Any]:
    of = {"user": sums["user"], "project": sums["project"]}
    return {
        "_id": of,
        "cpu": sums["cpu"],
        "ram": sums["ram"],
        "gpus": sums["gpus"],
        "totaltime": sums["seconds"],
        **{name: sums[name] for name in sorted(_PRODUCTS)},
    }
