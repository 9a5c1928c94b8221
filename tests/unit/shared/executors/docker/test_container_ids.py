"""Known container ids of runs."""

from __future__ import annotations

from shared.executors import types
from shared.executors.docker import container_ids

FIRST, SECOND = types.Handle("n1", 1, 1), types.Handle("n1", 2, 1)


def test_a_seen_container_is_known_once() -> None:
    seen = container_ids.Known()
    seen.note(FIRST, "a")
    assert seen.take(FIRST) == "a"
    assert seen.take(FIRST) is None


def test_the_last_container_that_was_seen_counts() -> None:
    seen = container_ids.Known()
    seen.note(FIRST, "a")
    seen.note(FIRST, "b")
    assert seen.take(FIRST) == "b"


def test_removed_containers_are_forgotten() -> None:
    seen = container_ids.Known()
    seen.note(FIRST, "a")
    seen.note(SECOND, "b")
    seen.keep({"b", "c"})
    assert len(seen) == 1
    assert seen.take(SECOND) == "b"
