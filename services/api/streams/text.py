"""
Decode the bytes of a log to text, piece by piece and without loss: pure.

A character that is split between two pieces is held back until the rest arrives. A byte that is not UTF-8 becomes a
lone surrogate, U+DC80 to U+DCFF, as with Python's `surrogateescape` (PEP 383): encoding the text the same way restores
the bytes.
"""

from __future__ import annotations

import codecs
import json


class Decoder:
    """Decodes one stream."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    @property
    def held_back(self) -> int:
        """The number of bytes that are not decoded yet."""
        return len(self._decoder.getstate()[0])

    def decode(self, piece: bytes) -> str:
        return self._decoder.decode(piece)

    def rest(self) -> str:
        """Return what was held back, after the last piece."""
        return self._decoder.decode(b"", final=True)


def as_json(value: object) -> str:
    """Return JSON in ASCII: the only form in which every reader accepts lone surrogates (`\\udcff`)."""
    return json.dumps(value, separators=(",", ":"))
