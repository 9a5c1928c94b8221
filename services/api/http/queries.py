"""Refuse unknown query parameters: a request that changes something could affect more than its sender meant."""

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
_MAX_PROBLEMS = 20

#: Parameters by name, and whether each may be repeated.
Declared = Mapping[str, bool]


def declared(dependant: Dependant) -> Declared:
    """Return the query parameters of a route and of its dependencies."""
    return {
        str(field.alias): _takes_many(field.field_info.annotation)
        for field in get_flat_params(dependant)
        if isinstance(field.field_info, Query) and field.field_info.in_ is ParamTypes.query
    }


def check_names(request: Request) -> None:
    """
    Raise `errors.InvalidInput` for a name such as `tag[$ne]`. If it were ignored, a request meant for a few things
    would affect all of them.
    """
    if not request.scope["query_string"]:
        return
    for name in request.query_params:
        if not _NAME.fullmatch(name):
            raise errors.InvalidInput.of("query", "the name of a parameter must be a plain word")


def check(request: Request, known: Declared) -> None:
    """
    Raise `errors.InvalidInput` for an unknown parameter, or for one that is repeated and takes one value. `?tags=a`
    instead of `?tag=a` would affect everything, `?dryrun=true` would not be a dry run.
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
        raise errors.InvalidInput(problems[:_MAX_PROBLEMS])


def _rule(name: str, known: Declared) -> str:
    if name in known:
        return "is given more than once, but takes one value"
    if not known:
        return "is not a parameter of this route, which has none"
    if nearest := difflib.get_close_matches(name, known, n=1, cutoff=0.5):
        return f"is not a parameter of this route; did you mean {nearest[0]}?"
    return f"is not a parameter of this route; it has: {', '.join(sorted(known))}"


def _takes_many(annotation: object) -> bool:
    inner = typing.get_args(annotation)
    return typing.get_origin(annotation) in _MANY or any(typing.get_origin(one) in _MANY for one in inner)
