"""Refuse the names of query parameters that other systems would take for operators."""

from __future__ import annotations

import re

from fastapi import Request

from shared import errors

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def check(request: Request) -> None:
    """
    Raises `errors.InvalidInput` for a name such as `tag[$ne]`. It would mean nothing here, and a request that was to
    concern a few things would concern all of them.
    """
    for name in request.query_params:
        if not _NAME.fullmatch(name):
            raise errors.InvalidInput.of("query", "the name of a parameter must be a plain word")
