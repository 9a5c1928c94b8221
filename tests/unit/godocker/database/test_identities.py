"""Tests of the identity of restored databases and the mark of shared directories."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from godocker.admin import uid_ranges
from godocker.database import identities
from shared import errors
from shared.models.system.identity import Identity
from shared.models.task import Place
from shared.settings import Settings
from shared.storage import marks
from shared.storage.directories import TaskDirectories

LOST = Identity(mark="lost", at=1.0, earlier="godocker", has_shared_dir=True)
HERE = Identity(mark="here", at=2.0)


@pytest.mark.parametrize(
    ("backed_up", "before", "found", "keep", "mark", "earlier"),
    [
        (LOST, None, "lost", False, "lost", "godocker"),  # its shared_dir is there: it goes on
        (LOST, HERE, "lost", False, "lost", "godocker"),
        (LOST, None, None, True, "lost", "godocker"),  # lost with its shared_dir
        (LOST, HERE, "here", True, "lost", "godocker"),
        (LOST, HERE, "here", False, "here", None),  # loaded into a system that is another one
        (None, HERE, "here", False, "here", None),
        (LOST, None, "other", False, "lost", "godocker"),  # no service starts with it
        (None, None, None, False, None, None),
    ],
)
def test_a_restored_database_is_that_of_the_system_whose_shared_directory_it_has(
    backed_up: Identity | None,
    before: Identity | None,
    found: str | None,
    *,
    keep: bool,
    mark: str | None,
    earlier: str | None,
) -> None:
    decided = identities.after_restore(backed_up, before, found, keep=keep, now=3.0).identity
    assert (decided and decided.mark) == mark
    assert (decided and decided.earlier) == earlier


def test_a_backup_beside_its_original_is_a_system_of_its_own() -> None:
    decided = identities.after_restore(LOST, None, None, keep=False, now=3.0).identity
    assert decided is not None
    assert decided.mark not in ("lost", "here")
    assert (decided.copy_of, decided.earlier, decided.has_shared_dir) == ("lost", None, False)


def test_a_shared_directory_is_taken_once(tmp_path: Path) -> None:
    marks.take(tmp_path / "shared", HERE)
    marks.take(tmp_path / "shared", HERE)
    assert marks.read(tmp_path / "shared") == "here"
    with pytest.raises(errors.ConfigurationError, match="belongs to the system here"):
        marks.take(tmp_path / "shared", LOST)


def test_a_copied_database_is_refused_a_shared_directory_without_a_mark(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="godocker identity --new"):
        marks.take(tmp_path, LOST)
    assert marks.read(tmp_path) is None


def made(shared_dir: Path, submission: str | None) -> Path:
    return TaskDirectories(shared_dir).make(Place(1), uid=0, gid=0, script="", submission=submission)


def test_a_new_system_sets_the_directories_of_another_one_aside(tmp_path: Path) -> None:
    (made(tmp_path, None) / "result").write_text("of another task 1")
    marks.take(tmp_path, HERE)
    assert not (tmp_path / "tasks").exists()
    assert (tmp_path / "tasks.before-here/0/1/result").read_text() == "of another task 1"


@pytest.mark.parametrize("change", [{"earlier": "godocker"}, {"restored": True}])
def test_a_system_that_goes_on_keeps_its_directories(tmp_path: Path, change: dict[str, object]) -> None:
    made(tmp_path, None)
    marks.take(tmp_path, HERE.model_copy(update=change))
    assert (tmp_path / "tasks/0/1").is_dir()


def test_a_task_gets_no_directory_of_another_one_with_its_number(tmp_path: Path) -> None:
    first = made(tmp_path, "first 1.0")
    state = TaskDirectories(tmp_path).state(Place(1))
    (first / "result").touch()
    (state / "exit.1").write_text("0\n")
    assert made(tmp_path, "first 1.0") == first
    assert (state / "exit.1").exists(), "the same task finds what it left"
    made(tmp_path, "second 2.0")
    assert not (state / "exit.1").exists()
    assert not (first / "result").exists()
    assert (tmp_path / "tasks/0/1.before-1/result").exists()
    made(tmp_path, "third 3.0")
    assert (tmp_path / "tasks/0/1.before-2").is_dir()
    assert TaskDirectories(tmp_path).highest() == 1


def test_a_directory_of_a_version_that_wrote_no_submission_is_gone_on_with(tmp_path: Path) -> None:
    (made(tmp_path, None) / "result").touch()
    assert (made(tmp_path, "first 1.0") / "result").exists()


def test_two_new_systems_of_processes_give_their_users_numbers_that_do_not_meet() -> None:
    processes = Settings(executor="process")
    starts = sorted(
        {
            uid_ranges.first(processes, Identity(mark=mark, at=0.0), highest=2**32)
            for mark in ("one", "two", "three", "four")
        }
    )
    assert len(starts) == 4
    assert all(later - earlier >= uid_ranges.EACH for earlier, later in itertools.pairwise(starts))
    assert uid_ranges.FIRST + uid_ranges.SYSTEMS * uid_ranges.EACH < 2**31


@pytest.mark.parametrize(
    ("given", "earlier"),
    [
        (Settings(executor="process", uid_start=30000), None),
        (Settings(executor="process"), "godocker"),
        (Settings(executor="docker"), None),
    ],
)
def test_what_is_configured_and_what_an_earlier_version_gave_is_gone_on_with(
    given: Settings, earlier: str | None
) -> None:
    assert uid_ranges.first(given, Identity(mark="one", at=0.0, earlier=earlier), highest=2**32) == given.uid_start
    assert uid_ranges.first(Settings(executor="process"), Identity(mark="one", at=0.0), highest=65535) == 20000
