"""Recognize mail addresses."""

from __future__ import annotations

import re

MAX_LENGTH = 254  #: octets of a path without its brackets (RFC 5321, 4.5.3.1.3)

#: RFC 5321's `Dot-string@Domain`; quoted local parts and address literals are left out, as almost everywhere.
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


def is_address(text: str) -> bool:
    """Return whether `text` is exactly one address, without a name, a second address or a line end."""
    return len(text) <= MAX_LENGTH and _ADDRESS.fullmatch(text) is not None
