"""Paths of files in URLs: bytes, which the framework makes text of, and which may hold anything but NUL."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Request
from starlette.convertors import Convertor, register_url_convertor


class FileConvertor(Convertor[str]):
    """What `path` matches, and line breaks besides: a task may well give a file such a name."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("file", FileConvertor())


async def file_path(
    request: Request, path: Annotated[str, Path(description="Path below the directory; empty: the directory itself")]
) -> bytes:
    """The path as it was sent, unquoted once: what is not UTF-8 has become something else in the framework's text."""
    whole, raw = request.scope["path"], request.scope.get("raw_path")
    if raw is None:
        return os.fsencode(path)
    # Slashes are slashes in both, so as many of them stand before the file's path.
    before = whole[: len(whole) - len(path)].count("/")
    return unquote_to_bytes(raw).split(b"/", before)[-1] if path else b""


FilePath = Annotated[bytes, Depends(file_path)]
