"""Structured logs: coloured on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TextIO

import orjson
import structlog

#: Keys whose values never belong in a log, whoever passes them by mistake.
SECRETS = frozenset({"apikey", "password", "passphrase", "secret", "token", "authorization", "secret_passphrase"})


#: Without the variables of each frame, which hold passwords and tokens, and make a line of many pages.
_tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def _redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for key in SECRETS & event.keys():
        event[key] = "…"
    return event


def _to_json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def _straight_to(handler: logging.StreamHandler[TextIO]) -> structlog.typing.Processor:
    """
    The last processor of our own lines where they are JSON: it writes them where `handler` writes those of libraries, in turn
    with them. By way of the standard library a line would cost four times as much, and each task has three.
    """

    def write(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        line = _to_json(event) + "\n"
        with (
            handler.lock or nullcontext(),
            suppress(OSError, ValueError),
        ):  # whoever read them is gone: that ends no service
            handler.stream.write(line)
        raise structlog.DropEvent

    return write


def configure(service: str, *, level: str = "info", as_json: bool | None = None) -> None:
    """
    Set up structlog and the standard library's logging for one process.

    `as_json` None means: JSON unless standard error is a terminal. JSON escapes control characters, so a name with
    a newline in it stays on its line.
    """
    as_json = not sys.stderr.isatty() if as_json is None else as_json
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
    ]
    final: list[structlog.typing.Processor] = (
        [_tracebacks, structlog.processors.JSONRenderer(serializer=_to_json)]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Their access lines repeat what the metrics count, at a cost on every request.
    for noisy in ("uvicorn.access", "aiohttp.access", "pymongo", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        # By the root's level and not by the class of a logger, which is kept: `set_level` reaches those that are in use.
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            *(
                [_tracebacks, _straight_to(handler)]
                if as_json
                else [structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


@contextmanager
def at_level(level: str) -> Iterator[None]:
    """Log what is at least as important as `level` for a moment, whatever is configured."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(min(before, logging.getLevelNamesMapping()[level.upper()]))
    try:
        yield
    finally:
        root.setLevel(before)


def set_level(level: str) -> None:
    """From now on log what is at least as important as `level`."""
    logging.getLogger().setLevel(level.upper())
