"""Find and copy the files that come with GoDocker beside its code, wherever it was installed."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from shared import errors

_SHARE = ("share", "godocker")  #: below the prefix of an installation


def copy(folder: str, target: Path) -> int:
    """Copy all files of a folder; returns how many. Raises `errors.ConfigurationError`, and writes nothing over what is there."""
    files = dict(_files(folder))
    if not files:
        raise errors.ConfigurationError(
            f"this installation of GoDocker came without {folder}/: install it from a wheel"
        )
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise errors.ConfigurationError(f"{target} exists and is not an empty directory")
        for name, file in files.items():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
            place.chmod(0o755 if _is_program(file) else 0o644)
    except OSError as error:
        raise errors.ConfigurationError(f"{error.filename or target} cannot be written: {error.strerror}") from None
    return len(files)


def _files(folder: str) -> Iterator[tuple[PurePosixPath, Path]]:
    """Each file's name below the folder, and where it is: in a checkout, else where the wheel was unpacked."""
    root = Path(__file__).parents[1]
    if (root / "pyproject.toml").is_file():
        yield from _of_checkout(root, folder)
        return
    for listed in metadata.files("godocker") or ():
        if name := _below(listed, folder):
            yield name, Path(str(listed.locate()))


def _of_checkout(root: Path, folder: str) -> Iterator[tuple[PurePosixPath, Path]]:
    """What a wheel would hold: not the secrets that `deploy/init` has made beside it."""
    tables = tomllib.loads((root / "pyproject.toml").read_text())
    for place, patterns in tables["tool"]["setuptools"]["data-files"].items():
        for pattern in patterns:
            for file in sorted(root.glob(pattern)):
                if name := _below(PurePosixPath(place, file.name), folder):
                    yield name, file


def _below(path: PurePosixPath, folder: str) -> PurePosixPath | None:
    """What of a path comes after `share/godocker/FOLDER`; None where that is no part of it."""
    start = (*_SHARE, folder)
    for at in range(len(path.parts) - len(start)):
        if path.parts[at : at + len(start)] == start:
            return PurePosixPath(*path.parts[at + len(start) :])
    return None


def _is_program(file: Path) -> bool:
    """Installers drop the executable bit of data: a program is told by its first two characters."""
    with file.open("rb") as content:
        return content.read(2) == b"#!"
