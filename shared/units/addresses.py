"""Tell what is a mail address that a message can be sent to."""

from __future__ import annotations

import re

MAX_LENGTH = 254  #: octets of a path less its brackets (RFC 5321, 4.5.3.1.3)

#: RFC 5321's `Dot-string@Domain`; quoted local parts and address literals are left out, as nearly everybody does.
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


def is_address(text: str) -> bool:
    """Whether `text` is one address and nothing else: no name beside it, no second one, no line end."""
    return len(text) <= MAX_LENGTH and _ADDRESS.fullmatch(text) is not None
