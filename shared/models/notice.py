"""A mail to a task's owner, as it waits in the outbox or was sent from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from shared.models.stored import Stored


class NoticeEvent(StrEnum):
    """What a mail is about."""

    RUNNING = "running"
    OVER = "over"


def notice_id(task_id: int, attempt: int, event: NoticeEvent) -> str:
    """One mail for each event of each attempt: writing it twice is writing it once."""
    return f"{task_id}-{attempt}-{event}"


class Notice(Stored):
    """`at` is when it happened, in seconds since the epoch: that a mail server was away does not change the letter's date."""

    id: str = Field(alias="_id")
    user: str | None = None  #: whose task it is about; None in one of an earlier version
    to: str
    subject: str
    text: str
    at: float
    tries: int = 0
    claim: str | None = None  #: whose try is under way; another's answer to it is not noted


@dataclass(frozen=True, slots=True)
class OutboxBacklog:
    """Unsent mails; `since` is the time of the oldest one's event, seconds since the epoch."""

    mails: int
    since: float | None
