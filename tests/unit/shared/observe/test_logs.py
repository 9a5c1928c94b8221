"""A log line is one line, whatever is in it, and holds no secret."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import orjson
import pytest
import structlog
from pydantic import ValidationError

from shared.models.user import User
from shared.observe import logs


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The standard error of a service that logs JSON."""
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("test-service", as_json=True)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


NASTY = [
    "two\nlines",
    "carriage\rreturn",
    "\x1b[31mred\x1b[0m",
    "separator\u2028and\u2029more",
    'quote " and \\ backslash',
    "nul\0",
    "\u202eright to left",
    '{"level": "error"}',
    "\x85next line",
]


@pytest.mark.parametrize("name", NASTY)
def test_a_name_stays_on_its_line_and_is_read_back_as_it_was(written: io.StringIO, name: str) -> None:
    structlog.get_logger("test").info("task.started", task_id=1, name=name)
    text = written.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "\x1b" not in text
    assert "\r" not in text
    assert "\0" not in text
    line = orjson.loads(text)
    assert (line["name"], line["event"], line["service"], line["level"]) == (
        name,
        "task.started",
        "test-service",
        "info",
    )


@pytest.mark.parametrize("name", NASTY)
def test_lines_of_libraries_are_one_line_too(written: io.StringIO, name: str) -> None:
    logging.getLogger("some.library").warning("failed for %s", name)
    assert written.getvalue().count("\n") == 1
    line = orjson.loads(written.getvalue())
    assert line["event"] == f"failed for {name}"
    assert line["logger"] == "some.library"


@pytest.mark.parametrize("key", sorted(logs.SECRETS))
def test_a_secret_is_not_written(written: io.StringIO, key: str) -> None:
    structlog.get_logger("test").warning("login.failed", **{key: "very-secret-value"})
    assert "very-secret-value" not in written.getvalue()
    assert orjson.loads(written.getvalue())[key] == "…"


def test_a_traceback_is_part_of_its_line(written: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        structlog.get_logger("test").error("request.failed", exc_info=error)
    assert written.getvalue().count("\n") == 1
    assert orjson.loads(written.getvalue())["exception"][0]["exc_value"] == "two\nlines"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_variables(written: io.StringIO, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    def log_in(password: str) -> None:
        raise ConnectionError(f"the directory took {len(password)} letters and hung up")

    monkeypatch.setattr(sys, "stderr", written)
    logs.configure("test-service", as_json=as_json)
    try:
        log_in("very-" + "secret-value")
    except ConnectionError:
        structlog.get_logger("test").exception("login.failed")
    assert "hung up" in written.getvalue()
    assert "log_in" in written.getvalue()
    assert "very-secret-value" not in written.getvalue()


def test_a_document_that_cannot_be_read_is_not_repeated(written: io.StringIO) -> None:
    try:
        User.model_validate({"_id": "alice", "uid": {"very": "secret"}, "credentials": "very-secret-value"})
    except ValidationError:
        structlog.get_logger("test").exception("user.unreadable")
    assert "uid" in written.getvalue()
    assert "secret" not in written.getvalue().replace("test_logs", "")


def test_what_cannot_be_json_is_written_as_text(written: io.StringIO) -> None:
    structlog.get_logger("test").info("odd", thing=object(), numbers={1, 2}, path=ValueError("x"))
    assert orjson.loads(written.getvalue())["event"] == "odd"


def test_a_level_that_is_not_asked_for_is_not_written(written: io.StringIO) -> None:
    structlog.get_logger("test").debug("details")
    assert written.getvalue() == ""


def test_our_lines_and_those_of_libraries_keep_their_order(written: io.StringIO) -> None:
    for number in range(3):
        structlog.get_logger("test").info("ours", number=number)
        logging.getLogger("some.library").warning("theirs")
    events = [orjson.loads(line)["event"] for line in written.getvalue().splitlines()]
    assert events == ["ours", "theirs"] * 3


def test_a_log_without_a_reader_ends_nothing(written: io.StringIO) -> None:
    written.close()
    structlog.get_logger("test").info("ours")


def test_at_a_level_for_a_moment(written: io.StringIO) -> None:
    logs.set_level("error")
    with logs.at_level("info"):
        structlog.get_logger("test").info("said")
    structlog.get_logger("test").info("not said")
    assert orjson.loads(written.getvalue())["event"] == "said"
