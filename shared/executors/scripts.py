"""The few lines of a script that executors without processes understand."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SLEEP = re.compile(r"^sleep (\d+(?:\.\d+)?)$")
_EXIT = re.compile(r"^exit (\d{1,3})$")
_LINES = 20  #: that are looked at


@dataclass(frozen=True, slots=True)
class Script:
    """What a script would do: for how many seconds it runs, how it ends, whether it hears SIGTERM."""

    seconds: float = 0.0
    exit_code: int = 0
    ignores_term: bool = False


def parse(text: str) -> Script:
    """Understand `sleep N`, `exit N` and `trap '' TERM`, each on a line of its own; all else takes no time."""
    seconds, exit_code, ignores_term = 0.0, 0, False
    for line in text.splitlines()[:_LINES]:
        if match := _SLEEP.match(line.strip()):
            seconds += float(match[1])
        elif match := _EXIT.match(line.strip()):
            exit_code = int(match[1]) & 0xFF
            break
        elif line.strip() == "trap '' TERM":
            ignores_term = True
    return Script(seconds, exit_code, ignores_term)
