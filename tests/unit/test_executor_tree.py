"""Which processes belong to a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.executors.process import proc, records, tree

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
        (process(101, WRAPPER, WRAPPER, run="god-1-2"), False),  # says that it is another run's
        (process(101, 1, 101, run=NAME, directory=HERE), True),
        (process(101, 1, 101, run=NAME, directory=ELSEWHERE), False),  # another system's
        (process(101, WRAPPER, WRAPPER, run=NAME, uid=0), False),  # only ever the run's user's
        (process(101, 1, 101, run=NAME, uid=20002), False),
        (process(101, WRAPPER, WRAPPER, run=NAME, state="Z"), False),
    ],
)
def test_who_belongs_to_a_run(other: proc.Process, belongs: bool) -> None:
    found = tree.members([LEADER, other], name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START)
    assert found == [LEADER, other] if belongs else found == [LEADER]


def test_a_wrapper_that_has_not_given_up_our_rights_yet_belongs_to_its_run() -> None:
    early = process(WRAPPER, uid=0, start=START)
    given_away = process(WRAPPER, uid=0, start=START + 1)
    for leader, found in ((early, [early]), (given_away, [])):
        assert tree.members([leader], name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START) == found


def test_descendants_belong_to_a_run_however_deep() -> None:
    chain = [LEADER, *(process(pid, pid - 1) for pid in range(101, 120))]
    found = tree.members(list(reversed(chain)), name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START)
    assert {one.pid for one in found} == {one.pid for one in chain}


def test_a_session_outlives_its_leader() -> None:
    left = process(101, 1, WRAPPER)
    assert tree.members([left], name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START) == [left]


def test_a_pid_that_was_given_away_again_leads_another_session() -> None:
    new = process(WRAPPER, start=9999)
    child = process(101, WRAPPER, WRAPPER)
    assert tree.members([new, child], name=NAME, directory=HERE, uid=UID, wrapper=WRAPPER, start=START) == []


def test_without_a_pid_only_the_environment_counts() -> None:
    marked, other = process(101, run=NAME), process(102)
    assert tree.members([marked, other], name=NAME, directory=HERE, uid=UID, wrapper=None, start=None) == [marked]


@pytest.fixture
def oddly_named(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose name is made to confuse who reads `/proc/<pid>/stat`."""
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


def test_a_draft_whose_writer_died_is_swept_and_one_whose_writer_lives_is_not(tmp_path: Path) -> None:
    kept = records.Records(tmp_path / "runs")
    kept.prepare()
    dead = subprocess.Popen(["true"])
    dead.wait()
    drafts = tmp_path / "runs" / records._NEW
    for pid in (dead.pid, os.getpid()):
        (drafts / f"god-1-1.{pid}.7").touch()
    kept.prepare()
    assert os.listdir(drafts) == [f"god-1-1.{os.getpid()}.7"]


def test_a_record_is_claimed_once_and_read_as_written(tmp_path: Path) -> None:
    kept = records.Records(tmp_path / "runs")
    kept.prepare()
    record = records.Record(1, 2, UID, "/x", "boot", 1.5, 10, 20)
    assert kept.claim(record)
    assert not kept.claim(record)
    assert kept.read("god-1-2") == record
    assert list(kept.names()) == ["god-1-2"]
    assert "gpus" not in json.loads((kept.directory / "god-1-2.json").read_bytes()), "an earlier version can read it"
    (kept.directory / "god-3-1.json").write_text("{cut sho")
    assert kept.read("god-3-1") is None
    kept.delete("god-1-2")
    kept.delete("god-1-2")
    assert kept.read("god-1-2") is None
