"""Tell which texts of users may be kept, and make any text safe to print. Pure."""

from __future__ import annotations

import unicodedata

#: Change the direction of the text around them, so that it reads as something else (UAX #9; CVE-2021-42574).
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_ENDS = ("Zl", "Zp")
_CONTROLS = ("Cc", "Cs")


def one_line(text: str) -> str:
    """The text, unless it has control characters, line ends or bidirectional controls. Raises ValueError."""
    if not text.isprintable() and any(_is_control(character) for character in text):
        raise ValueError("must be one line without control characters or bidirectional controls")
    return text


def paragraphs(text: str) -> str:
    """The text, which may have lines and tabs, unless it has other control characters. Raises ValueError."""
    if not text.isprintable() and any(_is_control(one) and one not in "\n\r\t\u2028\u2029" for one in text):
        raise ValueError("must not contain control characters or bidirectional controls")
    return text


def printable(text: str, *, keep: str = "\n\t") -> str:
    """The text for a terminal: what would steer it, or turn the text around, is written as its number."""
    return "".join(
        f"\\u{ord(character):04x}" if _is_control(character) and character not in keep else character
        for character in text
    )


def _is_control(character: str) -> bool:
    return character in BIDI_CONTROLS or unicodedata.category(character) in (*_CONTROLS, *_LINE_ENDS)
