"""Data files shipped with GoDocker: found in a checkout or an installed wheel, and copied."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from shared import errors

_SHARE = ("share", "godocker")  #: below the prefix of an installation


def copy(folder: str, target: Path) -> int:
    """Copy all files of a folder to an empty or new directory, and return their number. Raises `errors.ConfigurationError`."""
    files = dict(_files(folder))
    if not files:
        raise errors.ConfigurationError(f"this installation of GoDocker has no {folder}/: install it from a wheel")
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
    """Yield each file's name below the folder and its path, in a checkout or in the unpacked wheel."""
    root = Path(__file__).parents[1]
    if (root / "pyproject.toml").is_file():
        yield from _of_checkout(root, folder)
        return
    for listed in metadata.files("godocker") or ():
        if name := _below(listed, folder):
            yield name, Path(str(listed.locate()))


def _of_checkout(root: Path, folder: str) -> Iterator[tuple[PurePosixPath, Path]]:
    """Yield the files that a wheel would contain, without the secrets that `deploy/init` creates beside them."""
    tables = tomllib.loads((root / "pyproject.toml").read_text())
    for place, patterns in tables["tool"]["setuptools"]["data-files"].items():
        for pattern in patterns:
            for file in sorted(root.glob(pattern)):
                if name := _below(PurePosixPath(place, file.name), folder):
                    yield name, file


def _below(path: PurePosixPath, folder: str) -> PurePosixPath | None:
    """Return the part of a path below `share/godocker/FOLDER`; None for other paths."""
    start = (*_SHARE, folder)
    for at in range(len(path.parts) - len(start)):
        if path.parts[at : at + len(start)] == start:
            return PurePosixPath(*path.parts[at + len(start) :])
    return None


def _is_program(file: Path) -> bool:
    """Return whether a file starts with `#!`. Installers drop the executable bit of data files."""
    with file.open("rb") as content:
        return content.read(2) == b"#!"
