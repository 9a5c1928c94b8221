"""Find the type at a path of names and numbers within a pydantic model: pure."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

Path = Sequence[str | int]


def follow(within: Any, path: Path) -> tuple[list[str | int], Any]:
    """
    Return the part of `path` that names fields and list positions, and the type there. The rest are pydantic's marks for
    the tried branch of a union; the type is None if unknown.
    """
    taken: list[str | int] = []
    here = within
    for step in path:
        inner = _step(here, step)
        if inner is None:
            break
        taken.append(step)
        here = inner
    return taken, here


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a value of this type may be."""
    return [one for one in _branches(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]


def fields_of(annotation: Any) -> dict[str, Any]:
    """Return the fields that an object of this type may have, by the name they are sent under."""
    return {
        (field.alias or name): field for model in models_of(annotation) for name, field in model.model_fields.items()
    }


def takes(annotation: Any, *kinds: type) -> bool:
    """Return whether a value of this annotation may be of one of `kinds`."""
    if annotation in kinds:
        return True
    if get_origin(annotation) is None:
        return False
    return any(takes(one, *kinds) or type(one) in kinds for one in get_args(annotation))


def _step(annotation: Any, step: str | int) -> Any:
    for branch in _branches(annotation):
        if isinstance(step, int) and get_origin(branch) in (list, Sequence) and get_args(branch):
            return get_args(branch)[0]
        if isinstance(step, str) and get_origin(branch) is dict and get_args(branch):
            return get_args(branch)[1]
        if isinstance(step, str) and (found := fields_of(branch).get(step)) is not None:
            return found.annotation
    return None


def _branches(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _branches(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [branch for one in get_args(annotation) for branch in _branches(one)]
    return [annotation]
