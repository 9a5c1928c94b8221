"""Files that the wrapper of an attempt leaves below the task's directory, and what they say: pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

STATE = ".godocker"  #: folder below the task's directory, with one set of files per attempt
TAKEN = 125  #: exit code of a wrapper that found its attempt already claimed; it says nothing about the command


class Word(StrEnum):
    """A word that follows the exit code on the same line and qualifies it."""

    STOPPED = "stopped"  #: it was sent SIGTERM
    NO_INTERPRETER = "interpreter"  #: the first line of the script names a program that does not exist
    NO_EXEC = "noexec"  #: the task's directory is mounted `noexec`
    NO_OUTPUT = "output"  #: god.log or god.err could not be opened, and the command did not begin
    OUT_OF_MEMORY = "oom"  #: the kernel killed one of its processes at its memory limit


@dataclass(frozen=True, slots=True)
class Result:
    """The recorded result of an attempt. Times are seconds since the epoch."""

    started_at: float
    ended_at: float | None = None
    exit_code: int | None = None  #: None: the attempt did not end, or the line is incomplete
    pid: int | None = None
    told_to_end: bool = False  #: it was sent SIGTERM
    began: bool = True  #: False: the wrapper could not write its own lines and did not start the command
    words: frozenset[Word] = frozenset()


def started_file(attempt: int) -> str:
    """Return the path of the file that an attempt creates when it begins, below the task's directory."""
    return f"{STATE}/started.{attempt}"


def exit_file(attempt: int) -> str:
    """Return the path of the file with the exit code of an attempt."""
    return f"{STATE}/exit.{attempt}"


def stop_file(attempt: int) -> str:
    """Return the path of the file that exists once an attempt was sent SIGTERM."""
    return f"{STATE}/stop.{attempt}"
