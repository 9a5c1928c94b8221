"""Check values read from Redis, which anybody may have written: skip, count and occasionally report foreign ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson
import structlog

from shared import clock
from shared.observe import metrics

log = structlog.get_logger(__name__)

_AGAIN = 60.0  #: seconds until junk in the same place is reported again
_next_report: dict[str, float] = {}

_SAMPLE = frozenset({"timestamp", "cpu_percent", "memory", "memory_limit", "network_rx", "network_tx", "pids"})
_BILL = frozenset({"_id", "cpu", "ram", "gpus", "totaltime"})
_PRODUCTS = frozenset({"core_seconds", "gb_seconds", "gpu_seconds"})  #: missing in bills of an earlier version
_OF = frozenset({"user", "project"})
_WHOLE = _SAMPLE - {"timestamp", "cpu_percent"}


def note(where: str, count: int = 1) -> None:
    """Count skipped values."""
    metrics.REDIS_JUNK.labels(where).inc(count)
    now = clock.monotonic()
    if now >= _next_report.get(where, now):
        _next_report[where] = now + _AGAIN
        log.warning("broker.junk", where=where, count=count)


def number(word: object) -> int | None:
    """Return the id that a word spells, or None."""
    text = str(word)
    # `isdigit` alone also accepts digits that `int` rejects, and `int` rejects very long numbers.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def parsed(text: object) -> Any:
    """Return a text parsed as JSON, or None."""
    try:
        return orjson.loads(str(text))
    except orjson.JSONDecodeError:
        return None


def is_sample(found: object) -> bool:
    """Return whether a value has the form of a watcher's sample."""
    if not isinstance(found, Mapping) or found.keys() != _SAMPLE:
        return False
    return all(_is_number(value) for value in found.values()) and all(type(found[name]) is int for name in _WHOLE)


def is_bill(found: object) -> bool:
    """Return whether a value has the form of a gateway's monthly bill."""
    return isinstance(found, list) and all(_is_row(row) for row in found)


def _is_row(row: object) -> bool:
    if not isinstance(row, Mapping) or row.keys() not in (_BILL, _BILL | _PRODUCTS):
        return False
    of = row["_id"]
    names = isinstance(of, Mapping) and of.keys() == _OF and all(isinstance(name, str) for name in of.values())
    return names and all(_is_number(row[name]) for name in row.keys() - {"_id"}) and type(row["gpus"]) is int


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
