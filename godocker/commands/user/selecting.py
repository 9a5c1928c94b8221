"""Selection of the tasks of a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from godocker_client import Client, errors, selectors
from godocker_client.selectors import Children

Selectors = Annotated[
    list[str], typer.Argument(metavar="TASK…", help="Tasks: 12, 1,3,5-8, 7[3-9] (children of an array), 7.3 or last.")
]
One = Annotated[str, typer.Argument(metavar="TASK", help="A task: 12, 7.3 (a child of an array) or last.")]


def ids(client: Client, texts: Sequence[str]) -> list[int]:
    """Return the ids that selectors name, each once, in their order. Raises `errors.InvalidTask` and `errors.ApiError`."""
    found: list[int] = []
    for one in selectors.parse(texts):
        if isinstance(one, Children):
            found += selectors.children_ids(dict(client.get(one.parent).document), one.indices)
        elif one == selectors.LAST:
            found.append(_last(client))
        elif isinstance(one, int):
            found.append(one)
    return list(dict.fromkeys(found))


def one_id(client: Client, text: str) -> int:
    """Return the id of the one task that a selector names."""
    found = ids(client, [text])
    if len(found) != 1:
        raise errors.InvalidTask(f"{text}: names {len(found)} tasks, one is needed")
    return found[0]


def _last(client: Client) -> int:
    newest = [task.id for task in (*client.active()[:1], *client.ended(limit=20))]
    if not newest:
        raise errors.InvalidTask("last: you have not sent any task yet")
    return max(newest)
