"""Sizes in bytes as people write them: `500M`. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

GB = 1024**3  #: bytes

_SIZE = re.compile(r"^\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGTP]?)(?:i?B)?\s*$", re.IGNORECASE | re.ASCII)
_FACTOR = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}


def parse(value: object) -> int:
    """Return the bytes of a number or of a text like `500M`, `1.5 GB`, `10GiB` (all in powers of 1024). Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a size like 500M or 10G")
    return (
        int(float(match[1]) * _FACTOR[match[2].upper()])
        if "." in match[1]
        else int(match[1]) * _FACTOR[match[2].upper()]
    )


def shown(size: int) -> str:
    """Return a size for people: `1.5 GB`."""
    for unit in ("TB", "GB", "MB", "KB"):
        factor = _FACTOR[unit[0]]
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


#: A setting that accepts both spellings.
Size = Annotated[int, BeforeValidator(parse)]
