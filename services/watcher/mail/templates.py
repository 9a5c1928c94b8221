"""The subject and text of a mail about a task, and its message: pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from services.watcher.mail import subjects
from shared.lifecycle import Ending
from shared.models.notice import Notice, NoticeEvent, notice_id
from shared.models.task import Task

_ENDINGS = {
    Ending.EXITED: "ended by itself",
    Ending.KILLED: "was killed",
    Ending.START_FAILED: "could not be started",
    Ending.OUT_OF_MEMORY: "was killed at its memory limit",
    Ending.LOST: "was lost: its container disappeared",
    Ending.NODE_FAILED: "was ended by a failure of its node",
    Ending.QUOTA_REACHED: "was ended by a quota",
    Ending.LIFESPAN_REACHED: "was ended: it reached its maximal lifespan",
    Ending.DEPENDENCY_FAILED: "did not run: a task it depends on did not end as required",
}


def notice(task: Task, event: NoticeEvent, *, to: str, directory: str) -> Notice:
    """Return the mail to the owner of `task`, whose files are in `directory`."""
    running = event is NoticeEvent.RUNNING
    return Notice(
        id=notice_id(task.id, task.attempt, event),
        user=task.user.id,
        to=to,
        subject=f"Task {task.id}{_named(task)} {'is running' if running else _how(task)}",
        text=_running(task, directory) if running else _over(task, directory),
        at=(task.started_at if running else task.ended_at) or task.status_at,
    )


def message(notice: Notice, *, sender: str) -> EmailMessage:
    """
    Return the message to send. `EmailMessage` refuses line ends in a header; the Message-ID is made of the notice's id, so that
    mail programs recognize duplicates (RFC 5322, 3.6.4); Auto-Submitted keeps machines from answering (RFC 3834).
    """
    made = EmailMessage(subjects.POLICY)
    made["From"] = Address("GoDocker", addr_spec=sender)
    made["To"] = Address(addr_spec=notice.to)
    made["Subject"] = notice.subject
    made["Date"] = format_datetime(datetime.fromtimestamp(notice.at, UTC))
    made["Message-ID"] = f"<godocker-{notice.id}-{int(notice.at)}@{sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(notice.text)
    return made


def _running(task: Task, directory: str) -> str:
    where = f" on {task.placement.node}" if task.placement else ""
    array = f", an array of {task.array.count}," if task.array else ""
    return _lines(
        f"Your task {task.id}{_named(task)}{array} is running{where}.",
        "",
        f"Started:    {_time(task.started_at)}",
        f"Submitted:  {_time(task.submitted_at)}",
        f"Its files:  {directory}",
        "            (god.log and god.err are what it prints)",
    )


def _over(task: Task, directory: str) -> str:
    ran = task.placement is not None or (task.array is not None and task.started_at is not None)
    return _lines(
        f"Your task {task.id}{_named(task)} {_how(task)}.",
        "",
        f"Exit code:  {'none' if task.exit_code is None else task.exit_code}",
        f"Reason:     {task.reason}" if task.reason else None,
        f"Submitted:  {_time(task.submitted_at)}",
        f"Started:    {_time(task.started_at)}",
        f"Ended:      {_time(task.ended_at)}",
        f"Its files:  {directory}" if ran else "Its files:  none, it did not run",
        "            (god.log and god.err are what it printed)" if ran else None,
    )


def _how(task: Task) -> str:
    if task.ending is Ending.EXITED and task.exit_code:
        return f"ended with exit code {task.exit_code}"
    return _ENDINGS[task.ending] if task.ending else "is over"


def _named(task: Task) -> str:
    return f" ({task.spec.name})" if task.spec.name else ""


def _time(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC" if at is not None else "never"


def _lines(*lines: str | None) -> str:
    return "\n".join(line for line in lines if line is not None) + "\n"
