"""Options in a script, on lines like `#GODOCKER --cpu 4 --ram 8`: pure."""

from __future__ import annotations

import shlex

from godocker_client.errors import InvalidTask

MARK = "#GODOCKER"


def options_of(script: str) -> list[str]:
    """
    Return the words of all such lines, in order. They stand at the top: the first line that is neither empty nor a comment
    ends them. Raises `InvalidTask` where quotes are not closed.
    """
    words: list[str] = []
    for number, line in enumerate(script.splitlines(), 1):
        text = line.strip()
        if text and not text.startswith("#"):
            break
        if text == MARK or text.startswith((f"{MARK} ", f"{MARK}\t")):
            try:
                words += shlex.split(text[len(MARK) :], comments=True)
            except ValueError as error:
                raise InvalidTask(f"line {number} of the script: {error}") from None
    return words
