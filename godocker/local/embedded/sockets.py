"""Unix sockets of the embedded stores, in a private directory that no task can enter."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from shared import errors

MONGOD = "mongod.sock"
REDIS = "redis.sock"
_LONGEST = 100  #: bytes of a path; the kernel's limit is 107, and mongod's own socket name is longer than ours


def folder(directory: Path) -> Path:
    """
    Create and return the directory of the sockets: below `directory`, or below the temporary directory under a name derived from
    it if the path would be too long for a socket. Raises `errors.ConfigurationError`.
    """
    inside = directory.absolute() / "run" / "sockets"
    if len(os.fsencode(inside / MONGOD)) <= _LONGEST:
        inside.mkdir(mode=0o700, parents=True, exist_ok=True)
        inside.chmod(0o700)
        return inside
    name = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:16]
    outside = Path(tempfile.gettempdir()) / f"godocker-{os.geteuid()}-{name}"
    try:
        outside.mkdir(mode=0o700)
    except FileExistsError:
        _check(outside)
    return outside


def _check(path: Path) -> None:
    # Another user can predict the name and create something there first.
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise errors.ConfigurationError(
            f"{path} is not a private directory of ours: remove it, or choose a shorter --data-dir"
        )
