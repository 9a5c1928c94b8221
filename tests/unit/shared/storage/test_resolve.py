"""Paths below a directory: nothing outside of it is ever found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import errors
from shared.storage import openat2, resolve


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a/b/", [b"a", b"b"]),
        (b"...", [b"..."]),
        (b"\xff/a b", [b"\xff", b"a b"]),
        (b"a.", [b"a."]),
    ],
)
def test_plain_paths(path: bytes, names: list[bytes]) -> None:
    assert resolve.components(path) == names


@pytest.mark.parametrize(
    "path", [b"/", b"/a", b"a//b", b"a//", b".", b"..", b"a/..", b"../a", b"a/./b", b"a\0", b"x/" * 20_000]
)
def test_paths_that_are_not_plain(path: bytes) -> None:
    with pytest.raises(errors.NotFound):
        resolve.components(path)


@pytest.fixture(params=["openat2", "walk"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A directory with entries of every kind, resolved by the system call and by its replacement."""
    if request.param == "walk":
        monkeypatch.setattr(openat2, "is_available", lambda: False)
    else:
        assert openat2.is_available()
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "sub" / "below").mkdir(parents=True)
    outside.mkdir()
    (inside / "file").write_text("file")
    (inside / "sub" / "file").write_text("sub")
    (outside / "secret").write_text("secret")
    (inside / "linked").write_text("linked")
    os.link(inside / "linked", outside / "linked")
    os.mkfifo(inside / "pipe")
    for name, target in (
        ("to file", outside / "secret"),
        ("to folder", outside),
        ("to inside", "file"),
        ("to up", ".."),
        ("to nowhere", "nowhere"),
        ("to itself", "to itself"),
        ("to proc", "/proc/self/root"),
    ):
        (inside / name).symlink_to(target)
    descriptor = os.open(inside, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "content"), [(b"file", b"file"), (b"sub/file", b"sub"), (b"", None), (b"sub", None), (b"sub/below", None)]
)
def test_what_is_there_is_found(place: int, path: bytes, content: bytes | None) -> None:
    found = resolve.find(place, resolve.components(path))
    try:
        assert found.is_directory is (content is None)
        assert content is None or os.read(found.descriptor, 100) == content
    finally:
        os.close(found.descriptor)


@pytest.mark.parametrize(
    "path",
    [
        *(
            b"nothing",
            b"file/x",
            b"pipe",
            b"linked",
            b"to file",
            b"to folder",
            b"to folder/secret",
            b"to inside",
            b"to up",
        ),
        *(
            b"to up/outside/secret",
            b"to nowhere",
            b"to itself",
            b"to proc",
            b"to proc/etc/passwd",
            b"x" * 300,
            b"d/" * 9000,
        ),
    ],
)
def test_nothing_else_is(place: int, path: bytes) -> None:
    with pytest.raises(errors.NotFound):
        resolve.find(place, resolve.components(path))


@pytest.mark.parametrize("names", [[b".."], [b"sub", b"..", b"..", b"outside"], [b"/etc/passwd"]])
def test_even_an_unchecked_path_cannot_leave_openat2(place: int, names: list[bytes]) -> None:
    with pytest.raises(OSError, match="cross-device"):
        openat2.open_beneath(place, b"/".join(names), os.O_PATH)
