"""The processes of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.executors import types
from shared.executors.process import earlier, ending, proc, records, runs, strays, tree
from shared.executors.process.record import SHIM, Observed, Record
from shared.observe import metrics

NAME, UID, WRAPPER, START = "god-1-1", 20001, 100, 5000
HERE, ELSEWHERE = "/shared/tasks/0/1", "/mnt/go-docker"


def process(
    pid: int, ppid: int = 1, session: int = 0, *, run: str | None = None, uid: int = UID, **more: object
) -> proc.Process:
    values = {"state": "S", "start": START, **more}
    return proc.Process(pid=pid, ppid=ppid, group=session or pid, session=session or pid, uid=uid, run=run, **values)  # type: ignore[arg-type]


LEADER = process(WRAPPER, run=NAME)


@pytest.mark.parametrize(
    ("other", "belongs"),
    [
        (process(101, WRAPPER, WRAPPER, run=NAME), True),
        (process(101, 1, WRAPPER), True),  # forked twice, hid its environment
        (process(101, 1, 101, run=NAME), True),  # forked twice, made a session of its own
        (process(101, WRAPPER, 101), True),  # a child with a session of its own and no environment
        (process(101, 1, 101), False),
        (process(101, 1, 101, run="god-1-2"), False),
        (process(101, WRAPPER, WRAPPER, run="god-1-2"), False),  # claims to be another run's
        (process(101, 1, 101, run=NAME, directory=HERE), True),
        (process(101, 1, 101, run=NAME, directory=ELSEWHERE), False),  # another system's
        (process(101, WRAPPER, WRAPPER, run=NAME, uid=0), False),  # only processes of the run's user
        (process(101, 1, 101, run=NAME, uid=20002), False),
        (process(101, WRAPPER, WRAPPER, run=NAME, state="Z"), False),
    ],
)
def test_a_process_belongs_to_a_run_by_session_environment_or_parent(other: proc.Process, belongs: bool) -> None:
    found = earlier.members([LEADER, other], name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START)
    assert found == [LEADER, other] if belongs else found == [LEADER]


def test_a_wrapper_that_still_has_our_rights_belongs_to_its_run() -> None:
    early = process(WRAPPER, uid=0, start=START)
    given_away = process(WRAPPER, uid=0, start=START + 1)
    for leader, found in ((early, [early]), (given_away, [])):
        assert earlier.members([leader], name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START) == found


def test_descendants_belong_to_a_run_however_deep() -> None:
    chain = [LEADER, *(process(pid, pid - 1) for pid in range(101, 120))]
    found = earlier.members(list(reversed(chain)), name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START)
    assert {one.pid for one in found} == {one.pid for one in chain}


def test_a_session_outlives_its_leader() -> None:
    left = process(101, 1, WRAPPER)
    assert earlier.members([left], name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START) == [left]


def test_a_reused_pid_leads_another_session() -> None:
    new = process(WRAPPER, start=9999)
    child = process(101, WRAPPER, WRAPPER)
    assert earlier.members([new, child], name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START) == []


def test_without_a_pid_only_the_environment_counts() -> None:
    marked, other = process(101, run=NAME), process(102)
    assert earlier.members([marked, other], name=NAME, directory=HERE, uid=UID, wrapper=None, start=None) == [marked]


@pytest.fixture
def oddly_named(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process whose name confuses naive readers of `/proc/<pid>/stat`."""
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"], env={"GODOCKER_RUN": NAME}) as made:
        yield made
        made.kill()


def test_a_process_is_read_whatever_its_name(oddly_named: subprocess.Popen[bytes]) -> None:
    read = proc.read(oddly_named.pid)
    assert read is not None
    assert (read.ppid, read.uid, read.is_alive) == (os.getpid(), os.getuid(), True)
    assert proc.arguments(oddly_named.pid)[1:] == ["60"]


def test_a_process_that_is_not_there_is_none() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert proc.read(gone.pid) is None
    assert proc.arguments(gone.pid) == []


def test_all_descendants_of_a_shim_belong_to_its_run_whatever_they_claim() -> None:
    shim = process(WRAPPER, uid=0)
    hidden = process(101, WRAPPER, 101)  # a session of its own, and no environment
    posing = process(102, 101, 102, run="god-9-9", directory=ELSEWHERE)
    late, dead, other = process(99, 102), process(103, WRAPPER, state="Z"), process(104, 1, run=NAME, directory=HERE)
    assert tree.below([late, shim, hidden, posing, dead, other], WRAPPER) == [late, hidden, posing]


def test_a_draft_whose_writer_died_is_swept_and_one_whose_writer_lives_is_not(tmp_path: Path) -> None:
    kept = records.Records(tmp_path / "runs")
    kept.prepare()
    dead = subprocess.Popen(["true"])
    dead.wait()
    drafts = tmp_path / "runs" / ending.NEW
    for pid in (dead.pid, os.getpid()):
        (drafts / f"god-1-1.{pid}.7").touch()
        (drafts / f"god-1-1.{pid}").touch()
        (drafts / f"god-2-1.{pid}").touch()
    kept.update(Record(2, 1, UID, "/x", "boot", 1.5))
    kept.prepare()
    left = {f"god-1-1.{os.getpid()}.7", f"god-1-1.{os.getpid()}", f"god-2-1.{os.getpid()}"}
    assert {*os.listdir(drafts)} == {*left, f"god-2-1.{dead.pid}"}, "the second copy of a record stays as long as that"


WHOLE = Record(1, 2, UID, "/x", "boot", 1.5, 10, 20, gpus=["0"], ports=[[80, 10000]], form=SHIM)


def test_a_record_is_read_as_written_even_with_fields_of_a_later_version(tmp_path: Path) -> None:
    kept = records.Records(tmp_path / "runs")
    kept.prepare()
    kept.update(WHOLE)
    assert kept.read("god-1-2") == WHOLE
    assert list(kept.names()) == ["god-1-2"]
    path = kept.directory / "god-1-2.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "later": 1}).ljust(2000))
    assert kept.read("god-1-2") == WHOLE
    for _ in range(2):
        kept.delete("god-1-2")
    assert kept.read("god-1-2") is None


TORN = [
    b"",
    b"{cut sho",
    b"[]",
    b"null",
    b"17",
    b"\0" * 4096,
    b'{"task_id": 1}',
    b'{"task_id":1,"attempt":2,"uid":1,"directory":"/x","boot":"b","started_at":"now"}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("torn", TORN)
def test_a_record_that_cannot_be_read_is_counted_once_and_its_second_copy_counts(tmp_path: Path, torn: bytes) -> None:
    kept = records.Records(tmp_path / "runs")
    kept.prepare()
    kept.update(WHOLE)
    path = kept.directory / "god-1-2.json"
    whole = path.read_bytes()
    before = metrics.RECORDS_UNREADABLE._value.get()
    (kept.directory / ending.NEW / "god-1-2.4711").write_bytes(whole.ljust(1000))
    path.write_bytes(torn)
    os.utime(path, (1, 1))
    for _ in range(2):
        assert kept.read("god-1-2") == WHOLE
    assert metrics.RECORDS_UNREADABLE._value.get() == before + 1


@pytest.mark.parametrize("torn", TORN)
def test_a_record_that_cannot_be_read_at_all_is_not_absent(tmp_path: Path, torn: bytes) -> None:
    kept = records.Records(tmp_path / "runs")
    kept.prepare()
    path = kept.directory / "god-1-2.json"
    path.write_bytes(torn)
    os.utime(path, (1, 1))
    read = kept.read("god-1-2")
    assert read is not None
    assert (read.name, read.readable) == ("god-1-2", False)
    found = runs.find(kept, "god-1-2")
    assert found is not None
    assert (found.state, found.code, found.lost) == (types.RunState.EXITED, 137, True)
    assert found.reason is not None
    assert "cannot be read" in found.reason


def test_a_record_that_is_being_written_is_read_from_its_copy_and_not_logged(tmp_path: Path) -> None:
    kept = records.Records(tmp_path / "runs")
    kept.prepare()
    kept.update(WHOLE)
    path, before = kept.directory / "god-1-2.json", metrics.RECORDS_UNREADABLE._value.get()
    (kept.directory / ending.NEW / "god-1-2.4711").write_bytes(path.read_bytes().ljust(1000))
    path.write_bytes(b"")
    assert kept.read("god-1-2") == WHOLE
    assert metrics.RECORDS_UNREADABLE._value.get() == before


def test_stray_processes_are_counted_and_logged_once_they_persist() -> None:
    shim = process(WRAPPER, uid=0)
    run = Observed(WHOLE, types.RunState.RUNNING, shim)
    inside, away = process(101, WRAPPER, 101), process(102, 1, 102)
    others = [process(103, uid=0), process(104, uid=65534), process(105, uid=999), process(106, state="Z")]
    everybody = [shim, inside, away, *others]
    assert strays.of_no_run(everybody, [run], first_uid=20000) == [away]
    audit = strays.Audit(20000)
    counts = []
    for processes in (everybody, everybody, [shim, inside, *others]):
        audit.look(processes, [run])
        counts.append(metrics.STRAYS._value.get())
    assert counts == [0, 1, 0]
