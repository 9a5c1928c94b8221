"""A mail to a task's owner in the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from shared.models.stored import Stored


class NoticeEvent(StrEnum):
    """Event that a mail reports."""

    RUNNING = "running"
    OVER = "over"


def notice_id(task_id: int, attempt: int, event: NoticeEvent) -> str:
    """Return an id that is unique for each event of each attempt, so that writing a mail twice stores it once."""
    return f"{task_id}-{attempt}-{event}"


class Notice(Stored):
    """A mail. `at` is the time of the event, in seconds since the epoch, and the date of the mail, however late it is sent."""

    id: str = Field(alias="_id")
    user: str | None = None  #: owner of the task; None in mails of an earlier version
    to: str
    subject: str
    text: str
    at: float
    tries: int = 0
    claim: str | None = None  #: token of the sender that tries it now; results of others are ignored


@dataclass(frozen=True, slots=True)
class OutboxBacklog:
    """Unsent mails; `since` is the time of the oldest one's event, seconds since the epoch."""

    mails: int
    since: float | None
