"""Why a script could not be executed, told by its first line and by the place where it lies."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from shared.executors.process.record import NODE, Record
from shared.rules import scripts

SCRIPT = "cmd.sh"
_MOST = 4096  #: bytes of the script that are read


def reason(record: Record) -> str | None:
    """Return the sentence for a run whose script the kernel refused; None where nothing more is known than the kernel's error."""
    script = _beginning(Path(record.directory) / SCRIPT)
    interpreter = scripts.interpreter(script)
    if interpreter is None:
        return None
    if record.error == errno.EACCES and _is_noexec(record.directory):
        return scripts.mounted_noexec(NODE)
    if problems := scripts.problems_of(script):
        return problems[0]
    if record.error == errno.ENOENT:
        return scripts.has_no_interpreter(f"node {NODE}", interpreter)
    return None


def _beginning(file: Path) -> str:
    # The directory is the user's: a link or a pipe in place of the script is not followed, nor waited for.
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _MOST).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _is_noexec(directory: str) -> bool:
    try:
        return bool(os.statvfs(directory).f_flag & os.ST_NOEXEC)
    except OSError:
        return False
