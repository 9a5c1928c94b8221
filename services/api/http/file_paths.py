"""File paths in URLs, as bytes: a name may contain anything but NUL, and the framework would decode it."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Request
from starlette.convertors import Convertor, register_url_convertor


class FileConvertor(Convertor[str]):
    """Matches what `path` matches, and line breaks: a task may give a file such a name."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("file", FileConvertor())


async def file_path(
    request: Request, path: Annotated[str, Path(description="Path below the directory; empty: the directory itself")]
) -> bytes:
    """Return the path as it was sent, unquoted once: the framework's text has lost bytes that are not UTF-8."""
    whole, raw = request.scope["path"], request.scope.get("raw_path")
    if raw is None:
        return os.fsencode(path)
    # Both spellings have the same slashes, so the same number precedes the file's path.
    before = whole[: len(whole) - len(path)].count("/")
    return unquote_to_bytes(raw).split(b"/", before)[-1] if path else b""


FilePath = Annotated[bytes, Depends(file_path)]
