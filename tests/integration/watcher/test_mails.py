"""Mails to the owners of tasks: through the outbox in a real MongoDB to a real SMTP server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.watcher.mail import mailer, templates
from services.watcher.mail.mailer import Mailer
from services.watcher.mail.outbox_writer import OutboxWriter
from services.watcher.mail.smtp import SmtpClient
from shared import clock, errors
from shared.lifecycle import Ending, TaskStatus
from shared.models.notice import NoticeEvent
from shared.models.task import Spec
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store import stores
from shared.store.stores import Stores
from tests.support import samples, waiting
from tests.support.servers.mailbox import Mailbox, guarded_server, silent_server

RUNNING: dict[str, Any] = {"attempt": 1, "placement": samples.placement(), "started_at": samples.NOW + 5}
ENDED: dict[str, Any] = {"ended_at": samples.NOW + 65, "ending": Ending.EXITED, "exit_code": 3}
OVER = {**RUNNING, **ENDED}


class Desk:
    """The stores, with the watcher's two loops for mail."""

    def __init__(self, configured: Settings, opened: Stores) -> None:
        self.settings = configured
        self.stores = opened
        self.outbox = opened.database["outbox"]

    async def add_task(self, task_id: int, status: TaskStatus, *, name: str = "align", **fields: Any) -> None:
        spec = Spec(name=name, cpu=1, ram=1, image="busybox", cmd="true", notify_email=True)
        await self.stores.tasks.insert([samples.task(task_id, status, spec=spec, **{"told": -1, **fields})])

    @contextlib.asynccontextmanager
    async def working(self, smtp: SmtpClient | None = None) -> AsyncIterator[None]:
        """Run a watcher that writes and sends mails."""
        stop = asyncio.Event()
        notifier = OutboxWriter(self.stores, TaskDirectories(self.settings.shared_dir), poll=0.05)
        sender = Mailer(self.stores, self.settings, smtp=smtp)
        works = [asyncio.create_task(work.run(stop), name=type(work).__name__) for work in (notifier, sender)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*works)

    async def make_due(self) -> None:
        """Let the waits and leases expire."""
        await self.outbox.update_many({"done_at": None}, [{"$set": {"due": "$$NOW"}}])

    async def outcomes(self) -> dict[str, str | None]:
        return {found["_id"]: found["outcome"] async for found in self.outbox.find()}

    async def tries(self) -> int:
        return sum([found["tries"] async for found in self.outbox.find()])


@pytest.fixture
async def desk(settings: Settings, mailbox: Mailbox) -> AsyncIterator[Desk]:
    configured = Settings(**{**settings.model_dump(), **mailbox.settings()})
    async with stores.connect(configured) as opened:
        await opened.ensure_indexes()
        await opened.users.add(samples.user("alice", email="alice@lab.test"))
        yield Desk(configured, opened)


async def all_done(desk: Desk, count: int) -> dict[str, str | None]:
    async def look() -> dict[str, str | None] | None:
        found = await desk.outcomes()
        return found if len(found) == count and all(found.values()) else None

    return await waiting.until(look, f"{count} mails are sent or given up")


# --- sent mails ---------------------------------------------------------------------------


async def test_an_owner_gets_one_mail_when_the_task_runs_and_one_when_it_is_over(desk: Desk, mailbox: Mailbox) -> None:
    await desk.add_task(1, TaskStatus.RUNNING, **RUNNING)
    async with desk.working():
        await all_done(desk, 1)
        assert mailbox.subjects == ["Task 1 (align) is running"]
        await desk.stores.database["tasks"].update_one({"_id": 1}, {"$set": {**ENDED, "status": "over"}})
        await all_done(desk, 2)
    assert mailbox.subjects == ["Task 1 (align) ended with exit code 3", "Task 1 (align) is running"]
    assert [envelope.rcpt_tos for envelope in mailbox.envelopes] == [["alice@lab.test"]] * 2
    text = mailbox.letters[1].get_content()
    for said in ("task 1 (align)", "Exit code:  3", "Ended:      2023-11-14 22:14:25 UTC", "tasks/0/1"):
        assert said in text
    assert mailbox.letters[1]["Auto-Submitted"] == "auto-generated"


async def test_a_task_that_ended_before_the_first_check_gets_both_mails(desk: Desk, mailbox: Mailbox) -> None:
    await desk.add_task(1, TaskStatus.OVER, **OVER)
    async with desk.working():
        assert await all_done(desk, 2) == {"1-1-running": "sent", "1-1-over": "sent"}
    assert len(mailbox.envelopes) == 2


async def test_a_task_that_never_ran_gets_the_one_mail_that_it_is_over(desk: Desk, mailbox: Mailbox) -> None:
    await desk.add_task(1, TaskStatus.OVER, ending=Ending.KILLED, ended_at=samples.NOW, exit_code=137)
    async with desk.working():
        assert await all_done(desk, 1) == {"1-0-over": "sent"}
    assert "it did not run" in mailbox.letters[0].get_content()


async def test_each_attempt_that_runs_gets_one_mail(desk: Desk, mailbox: Mailbox) -> None:
    await desk.add_task(1, TaskStatus.RUNNING, **RUNNING)
    async with desk.working():
        await all_done(desk, 1)
        await desk.stores.database["tasks"].update_one({"_id": 1}, {"$set": {"attempt": 2}})
        assert set(await all_done(desk, 2)) == {"1-1-running", "1-2-running"}


async def test_a_task_without_notify_sends_no_mail(desk: Desk, mailbox: Mailbox) -> None:
    await desk.add_task(1, TaskStatus.OVER, **{**OVER, "told": None})
    await desk.add_task(2, TaskStatus.OVER, **OVER)
    async with desk.working():
        await all_done(desk, 2)
    assert all("Task 2" in subject for subject in mailbox.subjects)


async def test_an_owner_without_an_address_by_now_is_passed_over(desk: Desk, mailbox: Mailbox) -> None:
    await desk.stores.users.change("alice", {"email": "alice@lab.test\r\nBcc: everybody@lab.test"})
    await desk.add_task(1, TaskStatus.OVER, **OVER)
    async with desk.working():

        async def is_told() -> bool:
            task = await desk.stores.views.get(1)
            return task is not None and task.told is None

        await waiting.until(is_told, "the task owes nothing any more")
    assert await desk.outcomes() == {}
    assert mailbox.envelopes == []


async def test_a_name_in_any_script_arrives_as_it_is_and_adds_no_header(desk: Desk, mailbox: Mailbox) -> None:
    await desk.add_task(1, TaskStatus.OVER, name="séquençage → 配列 Bcc: x@y", **OVER)
    async with desk.working():
        await all_done(desk, 2)
    assert "Task 1 (séquençage → 配列 Bcc: x@y) is running" in mailbox.subjects
    assert all(message["Bcc"] is None for message in mailbox.letters)


async def test_a_name_with_a_line_end_can_be_no_header(desk: Desk, mailbox: Mailbox) -> None:
    """No route accepts one; if there were one, no mail would be sent."""
    await desk.add_task(1, TaskStatus.OVER, name="x\r\nBcc: everybody@lab.test", **OVER)
    async with desk.working():
        assert set((await all_done(desk, 2)).values()) == {"given up"}
    assert mailbox.envelopes == []


# --- a misbehaving server ------------------------------------------------------


async def test_a_mail_waits_for_a_server_that_is_down_and_is_delivered_once(desk: Desk, mailbox: Mailbox) -> None:
    mailbox.stop()
    await desk.add_task(1, TaskStatus.RUNNING, **{**RUNNING, "started_at": clock.now()})
    async with desk.working():
        await waiting.until(lambda: desk.outbox.find_one({"reason": {"$regex": "Connect"}}), "it was put off")
        mailbox.start()
        await desk.make_due()
        assert await all_done(desk, 1) == {"1-1-running": "sent"}
    assert len(mailbox.envelopes) == 1


async def test_a_server_that_hangs_is_left_after_the_deadline(desk: Desk, mailbox: Mailbox) -> None:
    await desk.add_task(1, TaskStatus.RUNNING, **{**RUNNING, "started_at": clock.now()})
    with silent_server() as port:
        hanging = Settings(**{**desk.settings.model_dump(), "smtp_port": port})
        async with desk.working(SmtpClient(hanging, deadline=0.3)):
            await waiting.until(lambda: desk.outbox.find_one({"reason": {"$regex": "Time"}}), "it was put off")
    await desk.make_due()
    async with desk.working():
        assert await all_done(desk, 1) == {"1-1-running": "sent"}


async def test_a_refusal_for_good_is_not_tried_again_and_one_for_now_is(desk: Desk, mailbox: Mailbox) -> None:
    mailbox.answer = "450 greylisted, come back"
    await desk.add_task(1, TaskStatus.RUNNING, **{**RUNNING, "started_at": clock.now()})
    async with desk.working():
        await waiting.until(lambda: desk.outbox.find_one({"reason": {"$regex": "450"}}), "it was put off")
        mailbox.answer = "550 no such user"
        await desk.make_due()
        assert await all_done(desk, 1) == {"1-1-running": "given up"}
    assert await desk.tries() == 2


async def test_a_mail_is_given_up_a_day_after_its_event(desk: Desk, mailbox: Mailbox) -> None:
    mailbox.stop()
    await desk.add_task(1, TaskStatus.RUNNING, **RUNNING)  # long ago
    async with desk.working():
        assert await all_done(desk, 1) == {"1-1-running": "given up"}


@pytest.mark.parametrize(
    ("changes", "sent"),
    [({}, True), ({"smtp_ca": None}, False), ({"smtp_password": "wrong"}, False), ({"smtp_host": "localhost"}, False)],
)
async def test_a_server_with_tls_and_a_login_is_spoken_to_only_if_both_fit(
    settings: Settings, tmp_path: Path, changes: dict[str, Any], sent: bool
) -> None:
    with guarded_server(tmp_path, user="godocker", secret="may-send") as box:
        login = {
            "smtp_tls": "starttls",
            "smtp_ca": tmp_path / "ca.pem",
            "smtp_user": "godocker",
            "smtp_password": "may-send",
        }
        configured = Settings(**{**settings.model_dump(), **box.settings(), **login, **changes})
        notice = templates.notice(samples.task(**OVER), NoticeEvent.OVER, to="alice@lab.test", directory="/d")
        message = templates.message(notice, sender="godocker@lab.test")
        if sent:
            await SmtpClient(configured).send(message, to="alice@lab.test")
        else:
            with pytest.raises(errors.MailUnavailable):
                await SmtpClient(configured).send(message, to="alice@lab.test")
    assert len(box.envelopes) == sent


# --- crashes in between ------------------------------------------------------------------


class _DiesAfterSending(SmtpClient):
    """A client that sends and then hangs, like a process that is killed before it records the mail."""

    async def send(self, *args: Any, **options: Any) -> None:
        await super().send(*args, **options)
        await asyncio.Event().wait()


async def test_a_sender_killed_between_server_and_record_costs_one_copy_with_the_same_message_id(
    desk: Desk, mailbox: Mailbox
) -> None:
    await desk.add_task(1, TaskStatus.RUNNING, **RUNNING)
    async with desk.working(_DiesAfterSending(desk.settings)):
        await waiting.until(lambda: mailbox.envelopes, "the server has it")
    async with desk.working():
        await desk.add_task(2, TaskStatus.RUNNING, **RUNNING)
        await waiting.until(lambda: desk.outbox.find_one({"outcome": "sent"}), "the other task's mail went out")
        assert await desk.outcomes() == {"1-1-running": None, "2-1-running": "sent"}, "the lease holds it back"
        await desk.make_due()
        await all_done(desk, 2)
    twice = [message["Message-ID"] for message in mailbox.letters if "Task 1" in message["Subject"]]
    assert len(twice) == 2
    assert len(set(twice)) == 1


async def test_a_notice_that_is_written_again_after_a_crash_is_not_sent_again(desk: Desk, mailbox: Mailbox) -> None:
    await desk.add_task(1, TaskStatus.OVER, **OVER)
    async with desk.working():
        await all_done(desk, 2)
        # As if the writer had died before it updated the task.
        await desk.stores.database["tasks"].update_one({"_id": 1}, {"$set": {"told": -1}})

        async def is_told() -> bool:
            task = await desk.stores.views.get(1)
            return task is not None and task.told is None

        await waiting.until(is_told, "it was written again")
        assert await all_done(desk, 2) == {"1-1-running": "sent", "1-1-over": "sent"}
    assert len(mailbox.envelopes) == 2


async def test_several_watchers_send_each_mail_once(desk: Desk, mailbox: Mailbox) -> None:
    for task_id in range(1, 31):
        await desk.add_task(task_id, TaskStatus.OVER, **OVER)
    async with desk.working(), desk.working(), desk.working():
        await all_done(desk, 60)
    assert len(mailbox.envelopes) == 60
    assert len(set(mailbox.subjects)) == 60


async def test_only_due_and_waiting_mails_are_in_the_indexes(desk: Desk) -> None:
    """However many tasks are over and mails sent, searching for due ones stays cheap."""
    await desk.add_task(1, TaskStatus.OVER, **OVER)
    async with desk.working():
        await all_done(desk, 2)
    indexes = await desk.stores.database["tasks"].index_information()
    assert indexes["to_tell"]["partialFilterExpression"] == {"told": {"$type": "int"}}
    assert await desk.outbox.count_documents({"due": {"$type": "date"}}) == 0


def test_the_wait_between_two_tries_doubles_up_to_half_an_hour() -> None:
    assert [mailer.wait(tries) for tries in (1, 2, 3, 9, 10, 1000)] == [5, 10, 20, 1280, 1800, 1800]
