"""Script lines that the fake and the simulated executor interpret: pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SLEEP = re.compile(r"^sleep (\d+(?:\.\d+)?)$")
_EXIT = re.compile(r"^exit (\d{1,3})$")
_LINES = 20  #: that are read


@dataclass(frozen=True, slots=True)
class Script:
    """The behaviour of a script: its duration in seconds, its exit code, whether it ignores SIGTERM."""

    seconds: float = 0.0
    exit_code: int = 0
    ignores_term: bool = False


def parse(text: str) -> Script:
    """Interpret `sleep N`, `exit N` and `trap '' TERM`, each on a line of its own; other lines take no time."""
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
