"""Images of the Compose file, built on this machine without a registry, and cached."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from godocker.docker import local_engine
from godocker.local.embedded import programs
from tests.deploy import rootfs

REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("GODOCKER_TEST_CACHE", Path.home() / ".cache" / "godocker-deploy"))
PACKAGES = CACHE / "packages"
LOCK = REPOSITORY / "requirements.lock"
PIP_TIMEOUT = 300.0  #: seconds
TAR_TIMEOUT = 60.0
_PIECE = 64 * 1024  #: bytes
_VERSION = re.compile(r"^[\w.-]+==[^ ]+", re.MULTILINE)  #: of a package in the lock file

_FORM = "1"  #: another one where this file or rootfs.py makes other images than before

#: Of the official images: who owns the data there.
_MONGO = _REDIS = 999
_PROMETHEUS = 65534


@dataclass(frozen=True, slots=True)
class Image:
    """An image: name, Debian packages, and additional files below its root."""

    name: str
    packages: tuple[str, ...]
    add: Callable[[Path], None] = lambda root: None
    of: tuple[Path, ...] = ()  #: files whose change makes it another image

    def key(self) -> str:
        text = [_FORM, self.name, sys.version, *self.packages, *(file.read_text() for file in self.of)]
        return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


def _with_wheels(root: Path) -> None:
    """Add the wheels that the builder would fetch, and a pip configured to use them."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    # The last one is needed by Debian's Python 3.11.2, and perhaps not by the one that we are.
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"], "async-timeout"]
    constraints = root / "tmp" / "constraints.txt"
    constraints.parent.mkdir(exist_ok=True)
    constraints.write_text("\n".join(_VERSION.findall(LOCK.read_text())))
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary",
        ":all:",
        "--constraint",
        str(constraints),
    ]
    done = subprocess.run(
        [*command, "--dest", str(root / "opt/wheels"), *wanted],
        check=False,
        capture_output=True,
        text=True,
        timeout=PIP_TIMEOUT,
    )
    constraints.unlink()
    assert done.returncode == 0, f"pip could not fetch the wheels: {done.stderr[-500:]}"
    (root / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /opt/wheels\n")


def _with_mongod(root: Path) -> None:
    shutil.copy2(programs.mongod(), root / "usr/bin/mongod")
    (root / "usr/bin/mongod").chmod(0o755)
    for folder in ("data/db", "data/configdb"):
        _data(root / folder, _MONGO)


def _with_prometheus(root: Path) -> None:
    (root / "usr/bin/promtool").unlink()
    _with_wget(root)
    _data(root / "prometheus", _PROMETHEUS)


def _with_wget(root: Path) -> None:
    (root / "usr/bin/wget").symlink_to("/bin/busybox")


def _data(folder: Path, owner: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, owner, owner)


IMAGES = (
    Image("local/python", ("python3", "dash", "coreutils", "ca-certificates")),
    Image(
        "local/python-build",
        ("python3", "python3-venv", "dash", "coreutils"),
        _with_wheels,
        (LOCK, REPOSITORY / "pyproject.toml"),
    ),
    Image("local/mongo", ("bash", "dash", "libcurl4", "libssl3"), _with_mongod),
    Image("local/redis", ("redis-server", "dash", "grep", "coreutils"), lambda root: _data(root / "data", _REDIS)),
    Image("local/proxy", ("caddy", "busybox-static", "dash"), _with_wget),
    Image("local/prometheus", ("prometheus", "busybox-static", "dash"), _with_prometheus),
)


def give(target: local_engine.Engine, place: Path) -> None:
    """Load all images, and the image of the tasks, into an engine. `place` is a temporary directory."""
    missing = [image for image in IMAGES if not _kept(image).exists()]
    # At once, before several look there for theirs.
    if missing:
        rootfs.fetch({package for image in missing for package in image.packages}, cache=PACKAGES)

    def put(image: Image) -> None:
        with archive(image, place).open("rb") as file:
            target.import_image(iter(lambda: file.read(_PIECE), b""), name=image.name)

    # The one for which wheels are fetched comes first: the others are made meanwhile.
    with ThreadPoolExecutor(max_workers=2) as makers:
        list(makers.map(put, sorted(IMAGES, key=lambda image: image.add is not _with_wheels)))
    target.import_image(local_engine.busybox_archive(), name="busybox")


def archive(image: Image, place: Path | None = None) -> Path:
    """Yield the image's files as a tar archive, assembled in the temporary directory `place`."""
    kept = _kept(image)
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(f".{os.getpid()}")
        with tempfile.TemporaryDirectory(dir=place) as folder:
            root = Path(folder) / "root"
            rootfs.make(root, image.packages, cache=PACKAGES)
            image.add(root)
            subprocess.run(
                ["tar", "-C", str(root), "--numeric-owner", "-cf", str(draft), "."], check=True, timeout=TAR_TIMEOUT
            )
        for older in CACHE.glob(f"{kept.name[:-20]}{'?' * 16}.tar"):
            older.unlink(missing_ok=True)
        draft.replace(kept)
    return kept


def _kept(image: Image) -> Path:
    return CACHE / f"{image.name.replace('/', '-')}-{image.key()}.tar"
