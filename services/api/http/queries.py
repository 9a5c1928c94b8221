"""Refuse query parameters that mean nothing here where a request that changes something could mean less than it does without."""

from __future__ import annotations

import difflib
import re
import typing
from collections import Counter
from collections.abc import Mapping

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import ParamTypes, Query

from shared import errors

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_MANY = (list, tuple, set, frozenset)
_MOST_TOLD = 20

#: Parameters by name, and whether each may come more than once.
Declared = Mapping[str, bool]


def declared(dependant: Dependant) -> Declared:
    """The query parameters of a route and of all that it depends on."""
    return {
        str(field.alias): _takes_many(field.field_info.annotation)
        for field in get_flat_params(dependant)
        if isinstance(field.field_info, Query) and field.field_info.in_ is ParamTypes.query
    }


def check_names(request: Request) -> None:
    """
    Raises `errors.InvalidInput` for a name such as `tag[$ne]`. It would mean nothing here, and a request that was to
    concern a few things would concern all of them.
    """
    if not request.scope["query_string"]:
        return
    for name in request.query_params:
        if not _NAME.fullmatch(name):
            raise errors.InvalidInput.of("query", "the name of a parameter must be a plain word")


def check(request: Request, known: Declared) -> None:
    """
    Raises `errors.InvalidInput` for a parameter that the route does not have, or that comes twice where one value is meant.
    `?tags=a` for `?tag=a` would concern everything, `?dryrun=true` would really do it.
    """
    if not request.scope["query_string"]:
        return
    counts = Counter(name for name, _ in request.query_params.multi_items())
    problems = [
        errors.FieldError(f"query.{name}", _rule(name, known))
        for name, count in counts.items()
        if name not in known or (count > 1 and not known[name])
    ]
    if problems:
        raise errors.InvalidInput(problems[:_MOST_TOLD])


def _rule(name: str, known: Declared) -> str:
    if name in known:
        return "is given more than once, and one value is meant"
    if not known:
        return "is not a parameter of this route, which has none"
    if nearest := difflib.get_close_matches(name, known, n=1, cutoff=0.5):
        return f"is not a parameter of this route: is {nearest[0]} meant?"
    return f"is not a parameter of this route; it has: {', '.join(sorted(known))}"


def _takes_many(annotation: object) -> bool:
    inner = typing.get_args(annotation)
    return typing.get_origin(annotation) in _MANY or any(typing.get_origin(one) in _MANY for one in inner)
