"""Find the fields of a sent task that nobody knows, each with the name that was probably meant: pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from services.api.wire.submission import TaskIn
from services.api.wire.task_out import TaskOut
from shared.errors import FieldError
from shared.wording import model_paths, suggestions

MOST = 20  #: of one task that are named
_LONGEST = 60  #: characters of a name that are shown

#: Names in other systems, which no likeness of letters leads from.
_ELSEWHERE: Mapping[str, str] = {
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


def found(sent: Any, dynamic: Mapping[str, Any] | None = None) -> Iterator[FieldError]:
    """
    Fields of the JSON that was `sent` as a task, at most `MOST`. Fields that only answers have are known: clients send whole
    tasks back. `dynamic` are requirements that the configuration adds.
    """
    if not _are_known(sent, KNOWN):
        yield from itertools.islice(_walk(sent, KNOWN, "", dynamic or {}), MOST)


def _are_known(value: Any, names: Names) -> bool:
    """Whether all fields have known names, as those of most tasks: at a quarter of the cost of a walk that keeps paths."""
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
                yield _unknown(f"{path}{_shown(name)}", name, names)
            elif inner := names.get(name):
                yield from _walk(one, inner, f"{path}{name}.", dynamic)


def _unknown(path: str, name: str, names: Names) -> FieldError:
    elsewhere = _ELSEWHERE.get(name.lower())
    meant = elsewhere if elsewhere in names else suggestions.nearest(name, names)
    return FieldError(path, f"{path} is not known and is ignored" + (f"; did you mean {meant}?" if meant else ""))


def _shown(name: str) -> str:
    plain = "".join(character if character.isprintable() else "?" for character in name)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"


def _names(*annotations: Any) -> dict[str, Any]:
    """The names that objects of these types may have, each with those of its own parts; None: whatever it holds is fine."""
    fields: dict[str, list[Any]] = {}
    for annotation in annotations:
        _, inner = model_paths.follow(annotation, [0])
        for name, field in model_paths.fields_of(inner).items():
            fields.setdefault(name, []).append(field.annotation)
    return {name: _names(*inner) or None for name, inner in fields.items()}


KNOWN: Names = _names(TaskIn, TaskOut)
