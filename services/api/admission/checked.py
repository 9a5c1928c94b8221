"""The result of checking one aspect of a sent task, a value and its problems: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from shared.errors import FieldError

T = TypeVar("T")

#: A value and its problems. The value may be stored only if there are no problems.
Checked = tuple[T, list[FieldError]]


def problems(aspects: Iterable[Checked[Any]]) -> list[FieldError]:
    """Return every rule that any of the aspects breaks."""
    return [problem for _, broken in aspects for problem in broken]


def values(fields: Mapping[str, Checked[Any]]) -> dict[str, Any]:
    """Return the value of each field, without its problems."""
    return {name: value for name, (value, _) in fields.items()}
