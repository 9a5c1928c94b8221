"""The mark on a `shared_dir` that names its system. Task directories are named by numbers, and every system has a task 1."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import structlog

from shared import errors
from shared.models.system.identity import Identity
from shared.storage.directories import ATTEMPTS, FOLDER

log = structlog.get_logger(__name__)

FILE = ".godocker-system"
_LIMIT = 100  #: bytes


def read(shared_dir: Path) -> str | None:
    """Return the mark of a directory, or None. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return (shared_dir / FILE).read_text()[:_LIMIT].strip() or None
    return None


def take(shared_dir: Path, identity: Identity) -> None:
    """
    Mark the directory as this system's, or check that it is. Raises `errors.ConfigurationError` if it is another system's
    or this system has another directory, and `errors.StorageError` if it cannot be written.
    """
    try:
        _take(shared_dir, identity)
    except OSError as error:
        raise errors.StorageError(f"shared_dir {shared_dir} cannot be used: {error.strerror or error}") from error


def _take(shared_dir: Path, identity: Identity) -> None:
    shared_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = read(shared_dir)
    if found == identity.mark:
        return
    if found is not None:
        raise errors.ConfigurationError(
            f"shared_dir {shared_dir} belongs to the system {found}, but this database to the system {identity.mark}: give "
            f"this system another shared_dir or, if the other one is gone for good, remove {shared_dir / FILE}"
        )
    if identity.has_shared_dir:
        raise errors.ConfigurationError(
            f"shared_dir {shared_dir} has no mark, but this database belongs to a system ({identity.mark}) that has a marked one "
            "elsewhere. Is the file system mounted? If this is a copy of that system's database: godocker identity --new. If its "
            "shared_dir was moved or lost, and that system no longer runs: godocker identity --keep"
        )
    _set_aside(shared_dir, identity)
    write(shared_dir, identity.mark)


def _set_aside(shared_dir: Path, identity: Identity) -> None:
    """Rename directories that exist before a new system's first task: they belong to another system."""
    if identity.earlier is not None or identity.restored:
        return
    for name in (FOLDER, ATTEMPTS):
        folder, aside = shared_dir / name, shared_dir / f"{name}.before-{identity.mark}"
        if not folder.is_dir() or not any(folder.iterdir()):
            continue
        with contextlib.suppress(FileNotFoundError):  # another service was faster
            folder.rename(aside)
            log.warning("shared_dir.tasks_set_aside", of="another system", to=str(aside))


def write(shared_dir: Path, mark: str, *, force: bool = False) -> None:
    """
    Write the mark. Of two systems that do so at once, the first wins; `force` replaces another's mark. Raises
    `errors.ConfigurationError` and OSError.
    """
    draft = shared_dir / f"{FILE}.{os.getpid()}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w") as file:
        file.write(f"{mark}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        if force:
            draft.replace(shared_dir / FILE)
            return
        os.link(draft, shared_dir / FILE)
    except FileExistsError:
        if (found := read(shared_dir)) != mark:
            raise errors.ConfigurationError(f"shared_dir {shared_dir} was just taken by the system {found}") from None
    finally:
        draft.unlink(missing_ok=True)
