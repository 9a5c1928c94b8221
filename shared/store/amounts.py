"""Expressions that count what a field holds only where it is an amount: one odd value must not spoil a sum, or refuse it."""

from __future__ import annotations

from typing import Any

_NUMBERS = ["double", "int", "long"]
_MOST = 1e15  #: more is no amount of anything here, infinity least of all


def amount(field: str) -> dict[str, Any]:
    """The number in `field` (`$spec.cpu`); 0 for whatever else stands there, NaN too, which is less than any number."""
    is_amount = {
        "$and": [{"$in": [{"$type": field}, _NUMBERS]}, {"$gte": [field, 0]}, {"$lt": [field, _MOST]}],
    }
    return {"$cond": [is_amount, field, 0]}
