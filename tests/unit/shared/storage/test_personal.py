"""Personal storage of users."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.scheduler.start import run_spec
from shared.executors import types
from shared.settings import Settings
from shared.storage import personal
from tests.support import samples


@pytest.mark.parametrize("user", ["", ".", "..", ".staging", "a/b", "../x", "A", "a\n", "x" * 40])
def test_only_plain_account_names_have_a_storage(tmp_path: Path, user: str) -> None:
    with pytest.raises(ValueError, match="not a user id"):
        personal.relative(user)
    assert personal.existing(tmp_path, user) is None


def test_a_task_gets_the_storage_of_its_user_if_it_exists(tmp_path: Path) -> None:
    assert personal.existing(tmp_path, "alice") is None
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "bob").symlink_to(tmp_path)
    (tmp_path / "users" / "alice").mkdir()
    assert personal.existing(tmp_path, "bob") is None
    assert personal.existing(tmp_path, "alice") == tmp_path / "users" / "alice"


def test_the_storage_is_mounted_read_only_at_its_place() -> None:
    task = samples.task()
    without = run_spec.run_of(task, node="n1", directory="/d", settings=Settings())
    given = run_spec.run_of(task, node="n1", directory="/d", settings=Settings(), data="/s/users/alice")
    assert without.mounts == ()
    assert given.mounts == (types.Mount("god-data", "/s/users/alice", "/mnt/god-data", read_only=True),)


def test_no_configured_volume_replaces_it() -> None:
    with pytest.raises(ValueError, match="cannot be mounted"):
        Settings(volumes=[{"name": "x", "path": "/x", "mount": "/mnt/god-data"}])
