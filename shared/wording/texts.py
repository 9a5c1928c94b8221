"""Check texts of users before they are stored, and make any text safe to print. Pure."""

from __future__ import annotations

import unicodedata

#: Change the direction of the surrounding text, so that it reads as another (UAX #9; CVE-2021-42574).
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_ENDS = ("Zl", "Zp")
_CONTROLS = ("Cc", "Cs")


def one_line(text: str) -> str:
    """Return the text unless it has control characters, line ends or bidirectional controls. Raises ValueError."""
    if not text.isprintable() and any(_is_control(character) for character in text):
        raise ValueError("must be one line without control characters or bidirectional controls")
    return text


def paragraphs(text: str) -> str:
    """Return the text, which may have lines and tabs, unless it has other control characters. Raises ValueError."""
    if not text.isprintable() and any(_is_control(one) and one not in "\n\r\t\u2028\u2029" for one in text):
        raise ValueError("must not contain control characters or bidirectional controls")
    return text


def printable(text: str, *, keep: str = "\n\t") -> str:
    """Return the text for a terminal, with control and direction characters written as their numbers."""
    return "".join(
        f"\\u{ord(character):04x}" if _is_control(character) and character not in keep else character
        for character in text
    )


def _is_control(character: str) -> bool:
    return character in BIDI_CONTROLS or unicodedata.category(character) in (*_CONTROLS, *_LINE_ENDS)
