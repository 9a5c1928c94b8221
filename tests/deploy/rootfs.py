"""Root file systems from Debian's packages, by this machine's apt, without configuration, in seconds."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

FETCH_TIMEOUT = 300.0  #: seconds for all packages of a system
UNPACK_TIMEOUT = 60.0  #: seconds for one of them
#: Large, and no part of a service.
_LEFT_OUT = ("doc", "man", "locale", "javascript", "nodejs", "fonts", "perl", "perl5", "zoneinfo", "i18n", "gtk-doc")
#: Of what apt would do: `Inst libc6 (2.36-9 Debian:12/stable [amd64])`
_PLANNED = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", re.MULTILINE)
_MERGED = ("bin", "sbin", "lib", "lib64")  #: below /usr since Debian 12
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "root", "var/tmp", "etc")
_USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
_GROUPS = "root:x:0:\nnogroup:x:65534:\n"


def make(root: Path, packages: Collection[str], *, cache: Path) -> None:
    """Unpack `packages` and their dependencies below the new directory `root`. `cache` keeps the archives."""
    root.mkdir(parents=True)
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in fetch(packages, cache=cache):
        _unpack(package, root)
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("tmp", "var/tmp"):
        (root / folder).chmod(0o1777)
    (root / "etc/passwd").write_text(_USERS)
    (root / "etc/group").write_text(_GROUPS)
    _link(root / "var/run", "/run")
    _link(root / "usr/bin/sh", "dash")


def fetch(packages: Collection[str], *, cache: Path) -> list[Path]:
    """Download the archives of `packages` and all their dependencies into `cache`, and return them."""
    (cache / "partial").mkdir(parents=True, exist_ok=True)
    nothing = cache / "status"
    nothing.touch()
    options = [f"Dir::State::status={nothing}", f"Dir::Cache::archives={cache}", "Debug::NoLocking=1"]
    flags = [part for option in options for part in ("-o", option)]
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *flags]
    planned = _run([*command, "--simulate", *sorted(packages)], FETCH_TIMEOUT)
    patterns = [_named(*found.groups()) for found in _PLANNED.finditer(planned)]
    if not all(any(cache.glob(pattern)) for pattern in patterns):
        _run([*command, "--download-only", *sorted(packages)], FETCH_TIMEOUT)
    return [next(cache.glob(pattern)) for pattern in patterns]


def _named(package: str, version: str) -> str:
    """Return apt's name of the archive, for any architecture."""
    return f"{package}_{version.replace(':', '%3a')}_*.deb"


def _unpack(package: Path, root: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as reader:
        tar = ["tar", "-C", str(root), "-x", "-p", "--keep-directory-symlink", "--exclude=./usr/lib/*/perl*"]
        tar += [f"--exclude=./usr/share/{name}" for name in _LEFT_OUT]
        subprocess.run(tar, check=True, stdin=reader.stdout, timeout=UNPACK_TIMEOUT)
    assert reader.returncode == 0, f"{package} could not be unpacked"


def _link(path: Path, target: str) -> None:
    if not path.exists() and not path.is_symlink():
        path.symlink_to(target)


def _run(command: Sequence[str], timeout: float) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()[-500:]}"
    return done.stdout
