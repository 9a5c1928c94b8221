"""Expressions for sums over fields that may hold anything: a value that is not an amount counts as 0."""

from __future__ import annotations

from typing import Any

_NUMBERS = ["double", "int", "long"]
_MOST = 1e15  #: larger values are not amounts, least of all infinity


def amount(field: str) -> dict[str, Any]:
    """
    Return an expression for the number in `field` (`$spec.cpu`), 0 for any other value. NaN counts as 0: it is less than
    any number.
    """
    is_amount = {
        "$and": [{"$in": [{"$type": field}, _NUMBERS]}, {"$gte": [field, 0]}, {"$lt": [field, _MOST]}],
    }
    return {"$cond": [is_amount, field, 0]}
