"""Sizes as people write and read them."""

from __future__ import annotations

import pytest

from shared.settings import Settings
from shared.units import sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("500M", 500 * 1024**2),
        ("1.5g", 3 * 1024**3 // 2),
        ("10 GiB", 10 * 1024**3),
        ("2TB", 2 * 1024**4),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert sizes.parse(text) == size
    assert sizes.parse(size) == size


@pytest.mark.parametrize("wrong", ["", "M", "-1", -1, "1X", "1 2", "1e3", None, True, 1.5, "٣M", "1" * 40])
def test_invalid_sizes(wrong: object) -> None:
    with pytest.raises(ValueError, match="size like 500M"):
        sizes.parse(wrong)


def test_sizes_are_shown_as_people_write_them() -> None:
    assert [sizes.shown(size) for size in (0, 4096, 3 * 1024**2, 3 * 1024**3 // 2)] == [
        "0 bytes",
        "4 KB",
        "3 MB",
        "1.5 GB",
    ]


def test_a_setting_takes_both_spellings_of_a_size() -> None:
    assert Settings(disk_default_quota="500M").disk_default_quota == 500 * 1024**2
    assert Settings(disk_default_quota=5).disk_default_quota == 5
