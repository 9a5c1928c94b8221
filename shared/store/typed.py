"""Check that a dataclass made from a document holds the declared types."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

Test = Callable[[Any], bool]


def checked(made: T) -> T:
    """Return `made`, a dataclass, unchanged. Raises `TypeError` with the name of the first field of another type."""
    kind: Any = type(made)
    for name, exact, test in _tests(kind):
        value = getattr(made, name)
        # Each document of each loop comes by here: for most values a look into a set is enough.
        if type(value) not in exact and not test(value):
            raise TypeError(f"{name} is of another type")
    return made


@functools.cache
def _tests(kind: Any) -> tuple[tuple[str, frozenset[type], Test], ...]:
    hints = typing.get_type_hints(kind)
    return tuple(
        (field.name, _exact(hints[field.name]), _test(hints[field.name])) for field in dataclasses.fields(kind)
    )


def _exact(hint: Any) -> frozenset[type]:
    """Return types whose values all pass the test. There may be others: a float passes only if it is finite."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return frozenset().union(*map(_exact, typing.get_args(hint)))
    if hint is float:
        return frozenset({int})
    return frozenset({hint}) if isinstance(hint, type) and not typing.get_args(hint) else frozenset()


def _test(hint: Any) -> Test:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is float:
        return _is_number
    if hint is int:
        return _is_whole
    if origin in (typing.Union, types.UnionType):
        tests = [_test(one) for one in inner]
        return lambda value: any(test(value) for test in tests)
    if origin is tuple:
        test = _test(inner[0])
        return lambda value: isinstance(value, tuple) and all(test(one) for one in value)
    if hint is types.NoneType:
        return lambda value: value is None
    if isinstance(hint, type):
        return lambda value: isinstance(value, hint)
    return lambda _: True


def _is_whole(value: Any) -> bool:
    # Beyond 32 bits the driver returns its own subclass, `Int64`.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))
