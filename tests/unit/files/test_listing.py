"""Listings of directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.files import listing


@pytest.fixture
def place(tmp_path: Path) -> Iterator[int]:
    """A directory with files that are served, and links, pipes and hard links that are not."""
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "file").write_text("file")
    (inside / "linked").write_text("linked")
    os.link(inside / "linked", tmp_path / "linked")
    os.mkfifo(inside / "pipe")
    (inside / "to file").symlink_to("file")
    (inside / "to folder").symlink_to(tmp_path)
    descriptor = os.open(inside, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_only_what_would_be_served_is_listed(place: int) -> None:
    file, size = listing.write(place, limit=100)
    with file:
        content = file.read()
    assert len(content) == size
    assert content == (b'[{"name":"file","type":"file","size":4},{"name":"sub","type":"dir","size":0}]')


def test_a_list_over_the_limit_is_not_made(place: int) -> None:
    with pytest.raises(listing.TooLong):
        listing.write(place, limit=5)
