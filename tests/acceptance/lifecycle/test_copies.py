"""Tests of a copied system beside its running original: from a backup, or from copied database files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.conftest import FAST, Ground
from tests.acceptance.lifecycle.test_interruption import primary, submit, wait_until_over, wait_until_settled
from tests.support import history, waiting
from tests.support.harness.system import System

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

PATIENCE = 60.0  #: seconds for each thing that is waited for
TASKS = 3
EXIT_CODES = {"long": 7, "later": 8}


@contextmanager
def another(ground: Ground, **environment: str) -> Iterator[System]:
    """Create another system on the same ground, without starting it."""
    with tempfile.TemporaryDirectory(prefix="godocker-copy-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)
        values = {**FAST, **ground._environment, **environment}
        system = System(Path(folder) / "data", ["--executor", ground.executor], values)
        try:
            yield system
        finally:
            system.clean_up()


@pytest.fixture
def original(ground: Ground) -> Iterator[System]:
    with ground.system() as system:
        yield system


@pytest.fixture
def running(original: System, ground: Ground) -> list[int]:
    """Start tasks of the original that run until the gate opens."""
    script = ground.witness.script(exit_code=EXIT_CODES["long"], gate="long")
    with original.client(original.token()) as client:
        ids = [submit(client, ground.task("long", script)) for _ in range(TASKS)]
    waiting.until_blocking(lambda: ground.witness.count("start") == TASKS, "they run", timeout=PATIENCE)
    return ids


def check_original(original: System, ground: Ground, running: list[int], before: dict[int, str]) -> None:
    """Check that the runs are unchanged and end normally, and that a new task runs."""
    assert ground.alive(original, running) == before
    with original.client(original.token()) as client:
        assert {primary(client, task_id) for task_id in running} == {"running"}
        later = submit(client, ground.task("later", ground.witness.script(exit_code=EXIT_CODES["later"])))
    ground.witness.open("long")
    wait_until_over(original, [*running, later], timeout=PATIENCE)
    wait_until_settled(original.settings())
    found = history.check(original.settings(), ground.witness, acknowledged=[*running, later], exit_codes=EXIT_CODES)
    assert (found.runs_twice, found.starts) == (0, TASKS + 1)
    assert "run.stray_removed" not in original.log("watcher")


def test_a_backup_restored_beside_its_original_is_a_system_of_its_own(
    original: System, ground: Ground, running: list[int], tmp_path: Path
) -> None:
    before = ground.alive(original, running)
    made = original.run("backup", str(tmp_path))
    assert made.returncode == 0, made.stderr
    with another(ground) as copy:
        copy.start()
        assert copy.stop() == 0
        restored = copy.run("restore", "--force", made.stdout.strip())
        assert restored.returncode == 0, restored.stderr
        assert "no running tasks are adopted" in restored.stdout
        copy.admin_key = original.admin_key
        copy.start()
        assert copy.mark != original.mark
        # What ran when the backup was made is the original's: to the copy it is lost.
        wait_until_over(copy, running, timeout=2 * PATIENCE)
        assert "run.stray_removed" not in copy.log("watcher")
        check_original(original, ground, running, before)


def test_a_copied_database_is_refused_until_it_has_an_identity_of_its_own(
    original: System, ground: Ground, running: list[int]
) -> None:
    before = ground.alive(original, running)
    with another(ground) as copy:
        take_database(original, copy)
        with pytest.raises(AssertionError, match="godocker identity --new"):
            copy.start()
        assert ground.alive(original, running) == before
        renewed = copy.run("identity", "--new")
        assert renewed.returncode == 0, renewed.stderr
        copy.start()
        assert copy.mark != original.mark
        wait_until_over(copy, running, timeout=2 * PATIENCE)
        check_original(original, ground, running, before)


def test_a_copied_database_that_works_with_the_directories_of_its_living_original_does_nothing(
    original: System, ground: Ground, running: list[int]
) -> None:
    before = ground.alive(original, running)
    shared = str(original.settings().shared_dir)
    with another(ground, GODOCKER_SHARED_DIR=shared) as copy:
        take_database(original, copy)
        copy.start()
        waiting.until_blocking(
            lambda: all("claim.is_foreign" in copy.log(name) for name in ("scheduler", "watcher")),
            "it finds that its original lives",
            timeout=PATIENCE,
        )
        with copy.client(copy.token()) as client:
            never = submit(client, ground.task("never", "exit 0"))
            check_original(original, ground, running, before)
            assert primary(client, never) == "pending"
        assert "claim.is_foreign" not in original.log("scheduler") + original.log("watcher")
        # With its original gone for good it goes on in its place, once it is started anew.
        original.stop()
        copy.stop()
        copy.start()
        with copy.client(copy.token()) as client:
            waiting.until_blocking(lambda: primary(client, never) == "over", "it goes on", timeout=PATIENCE)


def take_database(original: System, copy: System) -> None:
    """Copy the database files and secrets of the original while it is briefly stopped."""
    assert original.stop() == 0
    copy.data_dir.mkdir(mode=0o711)
    shutil.copytree(original.data_dir / "mongo", copy.data_dir / "mongo")
    shutil.copy(original.data_dir / "secrets.json", copy.data_dir / "secrets.json")
    original.start()
    copy.admin_key = original.admin_key
