"""Sum usage rows per day and per month; sums of past months are cached in Redis."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import structlog

from services.api.context import Context
from shared import clock, errors
from shared.models import usage as model
from shared.models.usage import Subject

_PRODUCTS = frozenset({"core_seconds", "gb_seconds", "gpu_seconds"})  #: amounts × seconds, task by task

log = structlog.get_logger(__name__)


async def days(context: Context, subject: Subject, name: str, *, since: float = 0) -> list[dict[str, Any]]:
    """Return one entry per UTC day of the window with usage, newest first. Usage before `since` does not count."""
    start = model.window_start(clock.now(), days=context.settings.user_reset_usage_duration)
    sums = await context.stores.usage.days(subject, name, since=max(start, since))
    return [_day(asdict(day)) for day in sums]


async def month(
    context: Context, subject: Subject, name: str, *, year: int, month: int, force: bool, since: float = 0
) -> list[dict[str, Any]]:
    """
    Return the sums of a month per user and project. A past month is cached in Redis, and summed again with `force` or
    without Redis. Usage before `since` does not count; a month that began before it is never cached or read from the
    cache: the cached sums may belong to an earlier subject of the same name.
    """
    start, end = bounds(year, month)
    cacheable = start >= since and end <= clock.now()
    if cacheable and not force:
        try:
            cached = await context.broker.billing(subject, name, f"{year:04}-{month:02}")
            # Sums cached by an earlier version lack the products: sum again.
            if cached is not None and all(row.keys() >= _PRODUCTS for row in cached):
                return cached
        except errors.BrokerUnavailable:
            log.warning("billing.not_cached")
    rows = [
        _row(asdict(sums)) for sums in await context.stores.usage.month(subject, name, start=max(start, since), end=end)
    ]
    if cacheable:
        try:
            await context.broker.remember_billing(subject, name, f"{year:04}-{month:02}", rows)
        except errors.BrokerUnavailable:
            log.warning("billing.not_cached")
    return rows


def bounds(year: int, month: int) -> tuple[float, float]:
    """Return the first second of a month and that of the next one, UTC."""
    following = (year, month + 1) if month < 12 else (year + 1, 1)
    return datetime(year, month, 1, tzinfo=UTC).timestamp(), datetime(*following, 1, tzinfo=UTC).timestamp()


def _day(sums: dict[str, Any]) -> dict[str, Any]:
    return {
        "date": sums["day"],
        "cpu": sums["cpu"],
        "ram": sums["ram"],
        "time": sums["seconds"],
        "gpus": sums["gpus"],
        **{name: sums[name] for name in sorted(_PRODUCTS)},
    }


def _row(sums: dict[str, Any]) -> dict[str, Any]:
    return {
        "_id": {"user": sums["user"], "project": sums["project"]},
        "cpu": sums["cpu"],
        "ram": sums["ram"],
        "gpus": sums["gpus"],
        "totaltime": sums["seconds"],
        **{name: sums[name] for name in sorted(_PRODUCTS)},
    }
