"""The files service's decisions that need no file: ranges, conditions, names, sizes, grants, quotas, paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jose import jwt

from services.files import disposition, listing, preconditions, quotas, ranges
from services.files.preconditions import Outcome, Validators
from services.files.ranges import Range
from services.scheduler.start import run_spec
from shared import clock, errors
from shared.auth import grants, tokens
from shared.auth.grants import Grant, Mode
from shared.executors import types
from shared.settings import Settings
from shared.storage import openat2, personal, resolve
from shared.units import sizes
from tests.support import samples

SECRET = "0123456789abcdef" * 2
KEY = grants.key(SECRET)


# --- ranges -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=2-", [(2, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-30", [(0, 10)]),
        ("bytes=3-300", [(3, 10)]),
        ("bytes=0-0,9-9", [(0, 1), (9, 10)]),
        ("bytes=8-8, 0-1", [(8, 9), (0, 2)]),
        ("bytes=0-0,50-60", [(0, 1)]),
        ("bytes=0-9,0-9", None),  # more than there is
        ("bytes=" + ",".join(["0-0"] * 10), [(0, 1)] * 10),
        ("bytes=" + ",".join(["0-0"] * 11), None),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=1", None),
        ("bytes=0-1-2", None),
        ("bytes=0x1-2", None),
        ("bytes=٣-4", None),
        ("bytes", None),
        ("items=0-1", None),
        ("bytes=0-" + "9" * 19, [(0, 10)]),
        ("bytes=0-" + "9" * 600, None),
    ],
)
def test_ranges_of_ten_bytes(header: str | None, found: list[tuple[int, int]] | None) -> None:
    parsed = ranges.parse(header, 10)
    assert (None if parsed is None else [(one.start, one.end) for one in parsed]) == found


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=20-,30-", 10)]
)
def test_ranges_that_no_byte_is_in(header: str, size: int) -> None:
    with pytest.raises(errors.RangeNotSatisfiable) as caught:
        ranges.parse(header, size)
    assert caught.value.size == size


@given(st.text(alphabet="bytes=0123456789-, \t", max_size=40), st.integers(0, 50))
def test_whatever_the_header_ranges_are_within_the_file(header: str, size: int) -> None:
    try:
        parsed = ranges.parse(f"bytes={header}", size)
    except errors.RangeNotSatisfiable:
        return
    for one in parsed or []:
        assert 0 <= one.start < one.end <= size


def test_parts_say_where_they_are_from() -> None:
    parts = ranges.multipart([Range(0, 2), Range(5, 6)], 10, boundary="B")
    assert parts == [
        b"\r\n--B\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-1/10\r\n\r\n",
        Range(0, 2),
        b"\r\n--B\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 5-5/10\r\n\r\n",
        Range(5, 6),
        b"\r\n--B--\r\n",
    ]


# --- conditions ---------------------------------------------------------------------------

KNOWN = Validators('"a"', 1000)
WEAK = Validators('W/"a"', 1000)
AT, BEFORE, AFTER = (f"Thu, 01 Jan 1970 00:16:{second} GMT" for second in (40, 39, 41))


@pytest.mark.parametrize(
    ("headers", "known", "outcome"),
    [
        ({}, KNOWN, Outcome.SEND),
        ({"if-none-match": '"a"'}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-none-match": '"b", W/"a"'}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-none-match": '"a"'}, WEAK, Outcome.NOT_MODIFIED),
        ({"if-none-match": "*"}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-none-match": '"b"'}, KNOWN, Outcome.SEND),
        ({"if-none-match": '"b"', "if-modified-since": AT}, KNOWN, Outcome.SEND),
        ({"if-modified-since": AT}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-modified-since": AFTER}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-modified-since": BEFORE}, KNOWN, Outcome.SEND),
        ({"if-modified-since": "yesterday"}, KNOWN, Outcome.SEND),
        ({"if-match": '"a"'}, KNOWN, Outcome.SEND),
        ({"if-match": "*"}, KNOWN, Outcome.SEND),
        ({"if-match": '"b"'}, KNOWN, Outcome.FAILED),
        ({"if-match": 'W/"a"'}, WEAK, Outcome.FAILED),
        ({"if-match": '"a"', "if-none-match": '"a"'}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-unmodified-since": BEFORE}, KNOWN, Outcome.FAILED),
        ({"if-unmodified-since": AT}, KNOWN, Outcome.SEND),
        ({"if-match": '"a"', "if-unmodified-since": BEFORE}, KNOWN, Outcome.SEND),
    ],
)
def test_conditions(headers: dict[str, str], known: Validators, outcome: Outcome) -> None:
    assert preconditions.evaluate(headers, known) is outcome


@pytest.mark.parametrize(
    ("headers", "known", "wanted"),
    [
        ({}, KNOWN, True),
        ({"if-range": '"a"'}, KNOWN, True),
        ({"if-range": AT}, KNOWN, True),
        ({"if-range": '"b"'}, KNOWN, False),
        ({"if-range": AFTER}, KNOWN, False),
        ({"if-range": 'W/"a"'}, WEAK, False),
        ({"if-range": AT}, WEAK, False),
    ],
)
def test_a_range_counts_of_the_state_it_was_asked_of(headers: dict[str, str], known: Validators, wanted: bool) -> None:
    assert preconditions.is_range_wanted(headers, known) is wanted


def test_what_tells_states_apart_changes_with_the_file_and_is_weak_while_it_is_fresh(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    os.utime(file, (1000, 1000))
    status = file.stat()
    fresh = preconditions.validators(status, now=status.st_ctime + 0.5)
    settled = preconditions.validators(status, now=status.st_ctime + 10)
    assert (fresh.etag, fresh.is_strong) == (f"W/{settled.etag}", False)
    assert (settled.is_strong, settled.last_modified) == (True, "Thu, 01 Jan 1970 00:16:40 GMT")
    file.write_bytes(b"two")
    os.utime(file, (1000, 1000))
    assert preconditions.validators(file.stat(), now=status.st_ctime + 10).etag != settled.etag
    os.utime(file, (-5, 2**33))
    assert preconditions.validators(file.stat(), now=clock.now()).last_modified, "a date far away can be said"


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"plain.txt", "attachment; filename=\"plain.txt\"; filename*=UTF-8''plain.txt"),
        (b'a"b', "attachment; filename=\"a_b\"; filename*=UTF-8''a%22b"),
        (b"a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ("é".encode(), "attachment; filename=\"_\"; filename*=UTF-8''%C3%A9"),
        (b"\xff", "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
        (b"100%;", "attachment; filename=\"100__\"; filename*=UTF-8''100%25%3B"),
    ],
)
def test_names_of_downloads(name: bytes, value: str) -> None:
    assert disposition.attachment(name) == value


@given(st.binary(max_size=300))
def test_no_name_gets_out_of_its_header(name: bytes) -> None:
    value = disposition.attachment(name)
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 2


# --- sizes ------------------------------------------------------------------------------------


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
def test_what_is_no_size(wrong: object) -> None:
    with pytest.raises(ValueError, match="size like 500M"):
        sizes.parse(wrong)


def test_sizes_are_shown_as_they_are_said() -> None:
    assert [sizes.shown(size) for size in (0, 4096, 3 * 1024**2, 3 * 1024**3 // 2)] == [
        "0 bytes",
        "4 KB",
        "3 MB",
        "1.5 GB",
    ]


def test_a_setting_takes_both_spellings_of_a_size() -> None:
    assert Settings(disk_default_quota="500M").disk_default_quota == 500 * 1024**2
    assert Settings(disk_default_quota=5).disk_default_quota == 5


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "http://127.0.0.1:6546"),
        ({"internal_host": "0.0.0.0", "files_port": 1}, "http://127.0.0.1:1"),
        ({"internal_host": "::1"}, "http://[::1]:6546"),
        ({"files_url": "https://files.lab"}, "https://files.lab"),
    ],
)
def test_where_the_gateway_finds_the_files(fields: dict[str, Any], url: str) -> None:
    assert Settings(**fields).files_base_url == url


# --- grants -----------------------------------------------------------------------------------

READ = Grant("tasks/0/1", Mode.READ)
WRITE = Grant("users/alice", Mode.WRITE, (1, 2), 500)


@pytest.mark.parametrize("grant", [READ, WRITE])
def test_a_grant_says_what_was_granted(grant: Grant) -> None:
    assert grants.read(grants.make(grant, key=KEY, now=clock.now()), key=KEY) == grant


def test_a_grant_is_good_for_a_moment() -> None:
    claims = jwt.get_unverified_claims(grants.make(READ, key=KEY, now=1000.0))
    assert claims["exp"] - claims["iat"] <= 60
    with pytest.raises(errors.NotAuthenticated):
        grants.read(grants.make(READ, key=KEY, now=clock.now() - 61), key=KEY)


def test_a_grant_is_no_session_and_a_session_no_grant() -> None:
    grant = grants.make(READ, key=KEY, now=clock.now())
    session = tokens.make_session("alice", "0" * 64, secret=SECRET, now=clock.now(), seconds=600)
    for key in (KEY, SECRET):
        with pytest.raises(errors.NotAuthenticated):
            grants.read(session, key=key)
        with pytest.raises(errors.NotAuthenticated):
            tokens.read_session(grant, secret=key)


def signed(key: str = KEY, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {
        "iss": "godocker", "aud": "files", "dir": "users/a", "mode": "read", "owner": None, "quota": None,
        "iat": int(clock.now()), "exp": int(clock.now()) + 30,
    }  # fmt: skip
    claims |= changes
    return str(
        jwt.encode({name: value for name, value in claims.items() if value != "absent"}, key, algorithm=algorithm)
    )


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "x" * 5000,
        signed(key="another key"),
        signed(algorithm="HS512"),
        signed(aud="session"),
        signed(iss="somebody"),
        signed(exp="absent"),
        signed(iat="absent"),
        signed(aud="absent"),
        signed(dir="absent"),
        signed(dir=""),
        signed(dir=["a"]),
        signed(mode="everything"),
        signed(owner=["a", "b"]),
        signed(quota="much"),
        signed(exp=int(clock.now()) + 3600),
        # {"alg": "none"} . the same claims . no signature
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + signed().split(".")[1] + ".",
    ],
)
def test_nothing_else_is_a_grant(token: str) -> None:
    with pytest.raises(errors.NotAuthenticated):
        grants.read(token, key=KEY)


# --- quotas -----------------------------------------------------------------------------------


def test_claims_take_and_give_back() -> None:
    account = quotas.Account()
    with quotas.Claim(account, quota=10 * 4096) as first, quotas.Claim(account, quota=10 * 4096) as second:
        first.grow(4 * 4096)
        second.grow(1)
        assert account.pending == 5 * 4096
        with pytest.raises(errors.QuotaExceeded, match=r"of 40 KB of personal storage 20 KB are left"):
            second.grow(7 * 4096)
        second.grow(6 * 4096)
        first.settle(2 * 4096, replaced=4096)
        assert (account.settled, account.pending) == (4096, 6 * 4096)
    assert (account.settled, account.pending) == (4096, 0)


def test_what_is_taken_is_counted_in_blocks_and_not_through_links(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "big").write_bytes(b"x" * 100_000)
    (folder / "empty").touch()
    (folder / "sub" / "file").write_bytes(b"x" * 5000)
    (folder / "link").symlink_to(outside)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sub = max((folder / "sub").stat().st_size, 4096)
        assert quotas.measure(descriptor) == 4096 + 8192 + sub + 4096
    finally:
        os.close(descriptor)


# --- personal storage -------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["", ".", "..", ".staging", "a/b", "../x", "A", "a\n", "x" * 40])
def test_only_plain_account_names_have_a_storage(tmp_path: Path, user: str) -> None:
    with pytest.raises(ValueError, match="not a user id"):
        personal.relative(user)
    assert personal.existing(tmp_path, user) is None


def test_a_task_is_given_the_storage_of_its_user_where_there_is_one(tmp_path: Path) -> None:
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


def test_no_volume_of_the_configuration_takes_its_place() -> None:
    with pytest.raises(ValueError, match="cannot be mounted"):
        Settings(volumes=[{"name": "x", "path": "/x", "mount": "/mnt/god-data"}])


# --- paths ------------------------------------------------------------------------------------


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
    """A directory with a bit of everything, looked into with the system call and with its stand-in."""
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
def test_even_a_path_that_was_not_checked_does_not_lead_out_of_openat2(place: int, names: list[bytes]) -> None:
    with pytest.raises(OSError, match="cross-device"):
        openat2.open_beneath(place, b"/".join(names), os.O_PATH)


def test_only_what_would_be_served_is_listed(place: int) -> None:
    file, size = listing.write(place, most=100)
    with file:
        content = file.read()
    assert len(content) == size
    assert content == (b'[{"name":"file","type":"file","size":4},{"name":"sub","type":"dir","size":0}]')


def test_a_list_longer_than_wanted_is_not_made(place: int) -> None:
    with pytest.raises(listing.TooLong):
        listing.write(place, most=5)
