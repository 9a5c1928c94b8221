"""Selectors, by which people name tasks: `12`, `1,3,5-8`, `7[3-9]` (children of an array by index), `last`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from godocker_client.errors import InvalidTask

LAST = "last"
MOST = 100_000  #: tasks of one selector

_PART = re.compile(
    r"(?:(last)|([0-9]{1,16})(?:-([0-9]{1,16}))?|([0-9]{1,16})(?:\[([^\]]+)\]|\.([0-9]{1,15})))", re.ASCII
)
_RANGE = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,15}))?(?::([0-9]{1,15}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Children:
    """Children of the array `parent` with these indices."""

    parent: int
    indices: tuple[int, ...]


Selected = int | str | Children


def parse(texts: Iterable[str]) -> list[Selected]:
    """Return what `texts` name, in their order: ids, `LAST` or `Children`. Raises `InvalidTask`."""
    found: list[Selected] = []
    for text in texts:
        for part in _split(text):
            found.extend(_part(part))
            if len(found) > MOST:
                raise InvalidTask(f"{text}: more than {MOST} tasks")
    return found


def children_ids(document: dict[str, Any], indices: Iterable[int]) -> list[int]:
    """Return the ids of the children with these indices, from the task object of their parent. Raises `InvalidTask`."""
    array = document["requirements"]["array"]
    if not array.get("nb_tasks"):
        raise InvalidTask(f"task {document['id']} is not an array")
    positions = {index: position for position, index in enumerate(_values(str(array["values"])))}
    missing = [index for index in indices if index not in positions]
    if missing:
        raise InvalidTask(f"array {document['id']} has no child with the index {missing[0]}")
    return [int(array["first_id"]) + positions[index] for index in indices]


def _split(text: str) -> list[str]:
    """Split at the commas that are outside of brackets."""
    return [part for part in re.split(r",(?![^\[]*\])", text.strip()) if part]


def _part(text: str) -> Iterator[Selected]:
    match = _PART.fullmatch(text)
    if match is None:
        raise InvalidTask(f"{text}: name tasks as 12, 1,3,5-8, 7[3-9], 7.3 or last")
    last, first, end, parent, inside, index = match.groups()
    if last:
        yield LAST
    elif parent:
        yield Children(int(parent), tuple(_values(index or inside)))
    else:
        yield from _range(text, int(first), int(end or first), 1)


def _values(text: str) -> Iterator[int]:
    for part in text.split(","):
        if re.fullmatch(r"[0-9]+:[0-9]+(:[0-9]+)?", part):  # as the server writes them: start:end:step
            first, last, *step = (int(number) for number in part.split(":"))
            yield from _range(text, first, last, step[0] if step else 1)
            continue
        match = _RANGE.fullmatch(part)
        if match is None:
            raise InvalidTask(f"{text}: indices are written 3, 3-9 or 3,7-9")
        yield from _range(text, int(match[1]), int(match[2] or match[1]), int(match[3] or 1))


def _range(text: str, first: int, last: int, step: int) -> Iterable[int]:
    if last < first or step < 1:
        raise InvalidTask(f"{text}: {last} is before {first}")
    if (last - first) // step >= 10**7:
        raise InvalidTask(f"{text}: too many numbers")
    return range(first, last + 1, step)
