"""Structured logs: coloured on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TextIO

import orjson
import structlog

#: Keys whose values are never logged, even if passed by mistake.
SECRETS = frozenset({"apikey", "password", "passphrase", "secret", "token", "authorization", "secret_passphrase"})


#: Tracebacks without local variables, which hold passwords and tokens and fill pages.
_tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def _redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for key in SECRETS & event.keys():
        event[key] = "…"
    return event


def _to_json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def _straight_to(handler: logging.StreamHandler[TextIO]) -> structlog.typing.Processor:
    """
    Return the last processor of our own JSON lines, which writes where `handler` writes those of libraries, in order. A
    line through the standard library would cost four times as much, and each task logs three.
    """

    def write(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        line = _to_json(event) + "\n"
        with (
            handler.lock or nullcontext(),
            suppress(OSError, ValueError),
        ):  # the reader is gone, which must not end a service
            handler.stream.write(line)
        raise structlog.DropEvent

    return write


def configure(service: str, *, level: str = "info", as_json: bool | None = None) -> None:
    """
    Set up structlog and the standard library's logging for one process.

    `as_json` None means JSON unless standard error is a terminal. JSON escapes control characters, so a name with a newline
    in it stays on its line.
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
    # Access lines repeat the metrics, at a cost for every request.
    for noisy in ("uvicorn.access", "aiohttp.access", "pymongo", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        # By the root's level, not by a logger's class, which is cached: `set_level` must reach loggers in use.
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
    """Log at `level` and above for a moment, whatever is configured."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(min(before, logging.getLevelNamesMapping()[level.upper()]))
    try:
        yield
    finally:
        root.setLevel(before)


def set_level(level: str) -> None:
    """Log at `level` and above from now on."""
    logging.getLogger().setLevel(level.upper())
