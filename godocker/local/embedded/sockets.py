"""Where the embedded stores are reached: unix sockets in a directory that nobody else can enter, so that no task gets to them."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from shared import errors

MONGOD = "mongod.sock"
REDIS = "redis.sock"
_LONGEST = (
    100  #: bytes of a path: the kernel takes 107 of a socket's, and mongod's own name for one is longer than ours
)


def folder(directory: Path) -> Path:
    """
    The sockets' directory of the stores below `directory`: in it, or where its path is too long for a socket's, in the system's
    temporary one by a name made of it. Raises `errors.ConfigurationError`.
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
    # Anybody may make something there first, by the name that they can work out.
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise errors.ConfigurationError(f"{path} is not ours alone: remove it, or choose a shorter --data-dir")
