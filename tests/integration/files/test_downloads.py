"""Listings and downloads of the files service, as clients rely on them header for header."""

from __future__ import annotations

import email.parser
import email.policy
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from tests.support import waiting
from tests.support.servers.fileserver import ALICE, FileServer, running

TEXT = b"0123456789"
SETTLED = 1_600_000_000  #: a time of modification long ago


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    with running(files_list_limit="20000") as server:
        yield server


@pytest.fixture(scope="module")
def digits(server: FileServer) -> Path:
    """A file that has not changed for a while, so that its ETag is strong."""
    path = server.task / "digits"
    path.write_bytes(TEXT)
    os.utime(path, (SETTLED, SETTLED))
    waiting.until_blocking(
        lambda: server.get("digits", method="HEAD").headers["etag"].startswith('"'), "the file has settled"
    )
    return path


# --- lists ----------------------------------------------------------------------------


def test_a_directory_is_a_sorted_list_with_the_exact_content_type(server: FileServer) -> None:
    folder = server.task / "folder"
    for name in ("b", "a", "C", "é", "a b"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * len(name))
    (folder / "sub").mkdir()
    answer = server.get("folder")
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.json() == [
        {"name": "C", "type": "file", "size": 1},
        {"name": "a", "type": "file", "size": 1},
        {"name": "a b", "type": "file", "size": 3},
        {"name": "b", "type": "file", "size": 1},
        {"name": "sub", "type": "dir", "size": 0},
        {"name": "é", "type": "file", "size": 1},
    ]
    assert server.get("folder/").json() == answer.json()


def test_an_empty_directory_is_an_empty_list(server: FileServer) -> None:
    (server.task / "empty").mkdir()
    assert server.get("empty").content == b"[]"


def test_a_personal_storage_that_was_never_used_is_an_empty_list(server: FileServer) -> None:
    answer = server.get("", "users/bob")
    assert (answer.status_code, answer.content) == (200, b"[]")
    assert server.get("x", "users/bob").status_code == 404
    assert not (server.shared / "users" / "bob").exists()


def test_the_files_of_a_task_that_never_ran_are_not_found(server: FileServer) -> None:
    assert server.get("", "tasks/0/2").status_code == 404


def test_a_long_list_is_whole_and_one_that_is_too_long_is_refused(server: FileServer) -> None:
    folder = server.task / "many"
    folder.mkdir()
    for number in range(15_000):
        (folder / f"{number:05}").touch()
    names = server.names("many")
    assert len(names) == 15_000
    assert names == sorted(names)
    for number in range(15_000, 20_001):
        (folder / f"{number:05}").touch()
    answer = server.get("many")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "20000" in answer.json()["detail"]


# --- downloads ------------------------------------------------------------------------


def test_a_file_is_an_attachment_that_does_no_harm(server: FileServer, digits: Path) -> None:
    answer = server.get("digits")
    assert (answer.status_code, answer.content) == (200, TEXT)
    headers = answer.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"] == "attachment; filename=\"digits\"; filename*=UTF-8''digits"
    assert headers["content-length"] == "10"
    assert headers["last-modified"] == "Sun, 13 Sep 2020 12:26:40 GMT"
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert "set-cookie" not in headers


@pytest.mark.parametrize("name", ["page.html", "image.svg", "feed.xml", "page.xhtml", "script.js"])
def test_t09_a_browser_never_gets_a_type_that_it_would_run(server: FileServer, name: str) -> None:
    (server.task / name).write_text("<script>alert(1)</script>")
    headers = server.get(name).headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment;")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"


def test_an_empty_file_is_empty(server: FileServer) -> None:
    (server.task / "nothing").touch()
    answer = server.get("nothing")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    answer = server.get("nothing", Range="bytes=0-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */0")


def test_head_says_the_same_without_the_bytes(server: FileServer, digits: Path) -> None:
    said, sent = server.get("digits", method="HEAD"), server.get("digits")
    assert said.content == b""
    assert {**said.headers, "date": ""} == {**sent.headers, "date": ""}
    assert server.get("", method="HEAD").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "content", "said"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-1000", b"56789", "bytes 5-9/10"),
        ("BYTES=9-9", b"9", "bytes 9-9/10"),
    ],
)
def test_a_range_is_that_part(server: FileServer, digits: Path, wanted: str, content: bytes, said: str) -> None:
    answer = server.get("digits", Range=wanted)
    assert (answer.status_code, answer.content) == (206, content)
    assert answer.headers["content-range"] == said
    assert answer.headers["content-length"] == str(len(content))


def test_a_range_past_the_end_is_refused_with_the_size(server: FileServer, digits: Path) -> None:
    answer = server.get("digits", Range="bytes=10-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10")
    assert answer.json()["code"] == "range_not_satisfiable"


def test_a_few_ranges_come_as_parts(server: FileServer, digits: Path) -> None:
    answer = server.get("digits", Range="bytes=0-1, 4-5,-1")
    assert answer.status_code == 206
    assert answer.headers["content-length"] == str(len(answer.content))
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.content).get_payload()
    assert isinstance(parts, list)
    assert [(part["Content-Range"], part.get_payload(decode=True)) for part in parts] == [
        ("bytes 0-1/10", b"01"),
        ("bytes 4-5/10", b"45"),
        ("bytes 9-9/10", b"9"),
    ]


def test_t10_a_thousand_ranges_are_the_whole_file_and_cost_nothing(server: FileServer, digits: Path) -> None:
    answer = server.get("digits", Range="bytes=" + ",".join("0-0" for _ in range(1000)))
    assert (answer.status_code, answer.content) == (200, TEXT)
    print(f"\n1,000 ranges in one header: answered in {answer.elapsed.total_seconds() * 1000:.1f} ms")


def test_a_known_file_is_not_sent_again(server: FileServer, digits: Path) -> None:
    etag = server.get("digits").headers["etag"]
    for headers in ({"If_None_Match": etag}, {"If_None_Match": f'"other", W/{etag}'}, {"If_None_Match": "*"}):
        answer = server.get("digits", **headers)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert server.get("digits", If_None_Match='"other"').status_code == 200
    date = server.get("digits").headers["last-modified"]
    assert server.get("digits", If_Modified_Since=date).status_code == 304
    assert server.get("digits", If_Modified_Since="Sun, 13 Sep 2020 12:26:39 GMT").status_code == 200


def test_a_download_is_resumed_only_of_the_same_file(server: FileServer, digits: Path) -> None:
    first = server.get("digits")
    for known in (first.headers["etag"], first.headers["last-modified"]):
        assert server.get("digits", Range="bytes=5-", If_Range=known).content == b"56789"
    for other in ('"other"', "Sun, 13 Sep 2020 12:26:39 GMT", f"W/{first.headers['etag']}"):
        answer = server.get("digits", Range="bytes=5-", If_Range=other)
        assert (answer.status_code, answer.content) == (200, TEXT)
    answer = server.get("digits", If_Match='"other"')
    assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert server.get("digits", If_Match=first.headers["etag"]).status_code == 200


def test_a_download_of_a_file_that_has_just_changed_is_never_resumed(server: FileServer) -> None:
    (server.task / "fresh").write_bytes(TEXT)
    first = server.get("fresh")
    assert first.headers["etag"].startswith("W/")
    answer = server.get("fresh", Range="bytes=5-", If_Range=first.headers["etag"])
    assert (answer.status_code, answer.content) == (200, TEXT)


NAMES = [
    b'a"b',
    b"a\nb",
    b"a\r\nSet-Cookie: x=1",
    b"\xff\xfe",
    "naïve €.txt".encode(),
    b"a;b%22",
    b"back\\slash",
    b" ",
    b"...",
]


@pytest.mark.parametrize("name", NAMES)
def test_t08_any_name_is_listed_and_downloaded_and_none_writes_headers(server: FileServer, name: bytes) -> None:
    folder = os.fsencode(server.task / "names")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(name)
    listed = [entry for entry in server.get("names").json() if raw(entry) == name]
    assert len(listed) == 1
    answer = server.get(b"names/" + name)
    assert (answer.status_code, answer.content) == (200, name)
    assert "set-cookie" not in answer.headers
    disposition = answer.headers["content-disposition"]
    assert disposition.isascii()
    assert disposition.isprintable()
    assert disposition.count('"') == 2
    assert disposition.partition("filename*=UTF-8''")[2].isascii()
    assert unquote_to_bytes(disposition.partition("filename*=UTF-8''")[2]).decode() == name.decode("utf-8", "replace")


def raw(entry: dict[str, str]) -> bytes:
    return unquote_to_bytes(entry["encoded"]) if "encoded" in entry else entry["name"].encode()


# --- grants ---------------------------------------------------------------------------


def test_a_request_without_a_grant_is_refused(server: FileServer) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {server.grant(at=SETTLED)}"}):
        answer = server.http.get("/files?path=", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_grant_to_read_does_not_allow_to_write(server: FileServer) -> None:
    headers = server.headers(ALICE)
    assert server.http.put("/files?path=x", content=b"x", headers=headers).status_code == 403
    assert server.http.delete("/files?path=x", headers=headers).status_code == 403
    assert not server.folder.exists()
