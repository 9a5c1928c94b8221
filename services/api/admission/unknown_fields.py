"""Find unknown fields in a sent task, each with the name that was probably meant: pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from services.api.wire.submission import TaskIn
from services.api.wire.task_out import TaskOut
from shared.errors import FieldError
from shared.wording import model_paths, suggestions

MAX_NAMED = 20  #: unknown fields of one task
_MAX_NAME = 60  #: characters of a name

#: Names in other systems, too different from ours to be found by spelling.
_SYNONYMS: Mapping[str, str] = {
    "mem": "ram",
    "memory": "ram",
    "cores": "cpu",
    "time": "maxlifespan",
    "timeout": "maxlifespan",
    "walltime": "maxlifespan",
    "labels": "label",
    "constraints": "label",
    "dependencies": "depends",
    "command": "cmd",
    "script": "cmd",
    "privileged": "root",
}

Names = Mapping[str, "Names | None"]


def find(sent: Any, dynamic: Mapping[str, Any] | None = None) -> Iterator[FieldError]:
    """
    Yield the unknown fields of the JSON `sent` as a task, at most `MAX_NAMED`. Fields that only answers have count as
    known: clients send whole tasks back. `dynamic` are requirements that the configuration adds.
    """
    if not _are_known(sent, KNOWN):
        yield from itertools.islice(_walk(sent, KNOWN, "", dynamic or {}), MAX_NAMED)


def _are_known(value: Any, names: Names) -> bool:
    """
    Return whether all fields have known names, as in most tasks: a walk that keeps paths costs four times as much.
    """
    if isinstance(value, list):
        return all(_are_known(one, names) for one in value)
    if isinstance(value, dict):
        if not value.keys() <= names.keys():
            return False
        for name, one in value.items():
            if (inner := names[name]) and not _are_known(one, inner):
                return False
    return True


def _walk(value: Any, names: Names, path: str, dynamic: Mapping[str, Any]) -> Iterator[FieldError]:
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from _walk(one, names, f"{path}{number}.", dynamic)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in names and not (path == "requirements." and name in dynamic):
                yield _warning(f"{path}{_shown(name)}", name, names)
            elif inner := names.get(name):
                yield from _walk(one, inner, f"{path}{name}.", dynamic)


def _warning(path: str, name: str, names: Names) -> FieldError:
    synonym = _SYNONYMS.get(name.lower())
    meant = synonym if synonym in names else suggestions.nearest(name, names)
    return FieldError(path, f"{path} is not known and is ignored" + (f"; did you mean {meant}?" if meant else ""))


def _shown(name: str) -> str:
    plain = "".join(character if character.isprintable() else "?" for character in name)
    return plain if len(plain) <= _MAX_NAME else f"{plain[:_MAX_NAME]}…"


def _names(*annotations: Any) -> dict[str, Any]:
    """Return the field names of these types, each with the names of its own fields; None where any content is fine."""
    fields: dict[str, list[Any]] = {}
    for annotation in annotations:
        _, inner = model_paths.follow(annotation, [0])
        for name, field in model_paths.fields_of(inner).items():
            fields.setdefault(name, []).append(field.annotation)
    return {name: _names(*inner) or None for name, inner in fields.items()}


KNOWN: Names = _names(TaskIn, TaskOut)
