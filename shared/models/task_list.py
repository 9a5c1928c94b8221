"""Queries and pages of task lists: pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.models.task import Task


class Order(StrEnum):
    """Sort keys, by the names that clients use."""

    ID = "id"
    NAME = "name"
    CONTAINER_IMAGE = "container_image"
    USER_ID = "user_id"


@dataclass(frozen=True, slots=True)
class Filter:
    """
    Conditions on ended tasks. `user` None matches all users; `start` and `end` bound the start of the run, in seconds since the
    epoch; `text` is searched in name, image and user, literally and ignoring case.
    """

    user: str | None
    start: float | None = None
    end: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, with the number of tasks and the number that match."""

    tasks: list[Task]
    total: int
    filtered: int
