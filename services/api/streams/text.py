"""
Make text of the bytes of a log, piece by piece, so that nothing is lost. Pure.

A character whose bytes are split between two pieces is held back until the rest arrives. A byte that is no UTF-8 becomes a lone
surrogate, U+DC80 to U+DCFF, as Python's `surrogateescape` does (PEP 383): whoever encodes the text the same way has the bytes.
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
        """Bytes that were taken and are not in any text yet."""
        return len(self._decoder.getstate()[0])

    def decode(self, piece: bytes) -> str:
        return self._decoder.decode(piece)

    def rest(self) -> str:
        """Return what was held back, where no further byte will complete it."""
        return self._decoder.decode(b"", final=True)


def as_json(value: object) -> str:
    """JSON in ASCII: the only form in which every reader takes lone surrogates (`\\udcff`)."""
    return json.dumps(value, separators=(",", ":"))
