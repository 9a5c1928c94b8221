"""System errors while a task is prepared or started belong to the installation: no task ends because of them."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.scheduler.cluster import Cluster
from services.scheduler.start import installation_errors, retries
from services.scheduler.start.installation_errors import InstallationErrors
from services.scheduler.start.task_directories import Preparer
from shared import errors
from shared.executors.process import request, server
from shared.models.task import Place
from shared.rules import installation_errors as troubles
from shared.storage import beneath, directories
from shared.storage.directories import TaskDirectories
from tests.support import samples
from tests.support.harness import rigs

ERRNOS = sorted(errno.errorcode)
PASSING = retries.PASSING


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Use up the descriptors of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def a_task_of_ours() -> object:
    made = samples.task()
    made.user.uid, made.user.gid = rigs.UID, rigs.GID
    return made


@pytest.mark.parametrize("number", ERRNOS, ids=lambda number: errno.errorcode[number])
def test_no_errno_while_a_directory_is_created_is_blamed_on_the_task(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(TaskDirectories, "_make", fail)
    found = Preparer(TaskDirectories(tmp_path), tmp_path)._prepare(a_task_of_ours())  # type: ignore[arg-type]
    assert isinstance(found, PASSING), found


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.EROFS]
)
def test_no_errno_of_a_disk_while_a_script_is_written_is_blamed_on_the_task(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(beneath, "write_new", fail)
    found = Preparer(TaskDirectories(tmp_path), tmp_path)._prepare(a_task_of_ours())  # type: ignore[arg-type]
    assert isinstance(found, errors.StorageUnavailable)
    assert isinstance(found, errors.StorageFull) is (number in (errno.ENOSPC, errno.EDQUOT))
    assert found.trouble in str(found)


def test_files_that_a_task_left_in_the_way_of_its_next_attempt_are_blamed_on_it(tmp_path: Path) -> None:
    made = TaskDirectories(tmp_path)
    path = made.make(Place(1), uid=rigs.UID, gid=rigs.GID, script="true")
    (path / "cmd.sh").unlink()
    (path / "cmd.sh").mkdir()
    (path / "cmd.sh" / "in the way").touch()
    with pytest.raises(errors.StorageError):
        made.make(Place(1), uid=rigs.UID, gid=rigs.GID, script="true")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_an_unreadable_file_of_an_earlier_attempt_does_not_count_as_absent(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = TaskDirectories(tmp_path).make(Place(1), uid=rigs.UID, gid=rigs.GID, script="true")
    (path / ".godocker" / "started.1").write_text("12\n")
    opened = os.open

    def fail(name: object, *args: object, **about: object) -> int:
        if name == "started.1":
            raise OSError(number, os.strerror(number))
        return opened(name, *args, **about)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(errors.StorageUnavailable):
        directories.read_result(path, 1)


def test_a_process_without_free_descriptors_reports_it(tmp_path: Path) -> None:
    made = TaskDirectories(tmp_path)
    made.probe()
    with no_descriptors(), pytest.raises(errors.StorageUnavailable, match="too many open files"):
        made.probe()
    with no_descriptors():
        found = Preparer(made, tmp_path)._prepare(a_task_of_ours())  # type: ignore[arg-type]
    assert isinstance(found, errors.StorageUnavailable)
    assert not [name for name in os.listdir(tmp_path / "tasks") if name.startswith(".probe")]


@pytest.mark.parametrize("step", ["send", "fork", "record"])
async def test_a_process_that_cannot_be_created_for_lack_of_resources_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    rig = rigs.Rig("process", tmp_path)
    numbers = [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.ENOENT]
    try:
        for number in numbers:
            run = await rig.run("true")

            def fail(
                self: server.Server, asked: request.Request, loop: asyncio.AbstractEventLoop, number: int = number
            ) -> None:
                if step == "send":
                    raise OSError(number, os.strerror(number))
                answer = server.Answer(request.REFUSED, (step, str(number)))
                loop.call_soon_threadsafe(self._waiting[asked.number].set_result, answer)

            monkeypatch.setattr(server.Server, "send", fail)
            with pytest.raises(errors.NodeUnwell) as raised:
                await rig.executor.start(run)
            assert raised.value.trouble == troubles.words(number)
            assert await rig.executor.inspect(run.handle) is None
    finally:
        await rig.executor.close()


def test_installation_errors_are_retried_without_end_and_less_and_less_often() -> None:
    made = retries.Retries()
    for error in (errors.NodeFull("full"), errors.NodeUnwell("unwell"), errors.StorageUnavailable("gone")):
        waits = [made.delay(1, error) for _ in range(40)]
        assert None not in waits
        assert waits[-1] == retries.LONGEST


# --- pauses after errors -----------------------------------------------------------------------


def test_failures_during_a_pause_count_once_and_a_later_one_doubles_the_pause() -> None:
    made = InstallationErrors()
    for _ in range(20):
        made.note("n1", "disk full", now=100.0)
    assert made.reason("n1", now=100.0 + installation_errors.FIRST - 0.1) == "disk full"
    assert made.reason("n2", now=100.0) is None
    assert made.reason("n1", now=100.0 + installation_errors.FIRST) is None, "one may try"
    assert made.current(now=100.0 + installation_errors.FIRST) == {"n1"}, "and it is not well before one succeeded"
    made.note("n1", "disk full", now=103.0)
    assert made.reason("n1", now=103.0 + 2 * installation_errors.FIRST - 0.1) == "disk full"
    now = 103.0
    for _ in range(20):
        now += installation_errors.LONGEST
        made.note("n1", "disk full", now=now)
    assert made.reason("n1", now=now + installation_errors.LONGEST - 0.1)
    assert made.reason("n1", now=now + installation_errors.LONGEST) is None
    made.clear(installation_errors.EVERYWHERE, "n1")
    assert made.current(now=now) == set()


def test_a_node_with_an_installation_error_is_not_ready_and_shows_the_reason() -> None:
    outages = InstallationErrors()
    cluster = Cluster(node_errors=outages)
    cluster.observe([samples.report("n1"), samples.report("n2", ready=False, reason="silent")])
    outages.keep(installation_errors.EVERYWHERE, "disk full: the shared directory", now=0.0, seconds=float("inf"))
    assert [(report.ready, report.reason) for report in cluster.reports] == [
        (False, "disk full: the shared directory"),
        (False, "silent"),
    ]
    assert [state.ready for state in cluster.snapshot()] == [False, False]
    assert cluster.failing == {installation_errors.EVERYWHERE}
    outages.clear(installation_errors.EVERYWHERE)
    assert [state.ready for state in cluster.snapshot()] == [True, False]
