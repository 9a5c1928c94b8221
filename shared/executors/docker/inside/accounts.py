"""
Entries in passwd and group for runs whose uid and gids their image lacks.

An image's own files are read once, from a container that was just created, and missing entries are appended, so that no user
of the image becomes another. The result is mounted over the image's file; it is stored on `shared_dir`, which every node has,
named by its content.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiodocker
import structlog

from shared import clock, errors
from shared.executors import types
from shared.executors.docker import body, client

log = structlog.get_logger(__name__)

PASSWD, GROUP = "/etc/passwd", "/etc/group"
MOST = 256 * 1024  #: bytes of such a file; larger ones are left alone
_FOLDER = "accounts"
_KEPT = 60.0  #: seconds for which the id of an image's name is cached
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.@-]{0,63}$")


@dataclass(frozen=True, slots=True)
class Files:
    """The passwd and group files of an image; None: missing, or not extensible."""

    passwd: bytes | None
    group: bytes | None


class Accounts:
    """The account files of one node's images."""

    def __init__(self, engine: client.Engine, shared_dir: Path) -> None:
        self._engine = engine
        self._folder = shared_dir.absolute() / _FOLDER
        self._images: dict[str, tuple[str, float]] = {}  # by name: the image's id, and when it was read
        self._files: dict[str, Files] = {}  # by id
        self._written: set[str] = set()

    async def mounts(self, run: types.Run, *, home: str) -> Mapping[str, str] | None:
        """Return the mounts, host paths by container paths. None: the image is unknown, `learn` it first."""
        if run.root:
            return {}  # every image knows root, and a root task may create users of its own
        files = self._files.get(await self.identify(run.image) or "")
        if files is None:
            return None
        passwd = with_user(files.passwd, run, home=home) if files.passwd is not None else None
        group = with_groups(files.group, run) if files.group is not None else None
        extended = ((PASSWD, passwd), (GROUP, group))
        try:
            return {target: await self._written_to(text) for target, text in extended if text is not None}
        except OSError as error:
            log.warning("accounts.not_written", error=str(error))
            return {}

    async def learn(self, run: types.Run, container: str) -> None:
        """Read the image's files from a container that was created without our mounts."""
        try:
            passwd, group = [await self._engine.read_file(container, path, limit=MOST) for path in (PASSWD, GROUP)]
            _, answer = await self._engine.call("GET", f"containers/{container}/json")
        except aiodocker.DockerError as error:
            raise errors.NodeUnavailable(self._engine.name, client.words(error.message)) from error
        self._files[answer["Image"]] = Files(_content(passwd), _content(group))
        self._images[run.image] = (answer["Image"], clock.monotonic())

    async def identify(self, image: str) -> str | None:
        """Return the id of an image on the node; None where the engine does not report it."""
        known = self._images.get(image)
        if known is not None and clock.monotonic() < known[1] + _KEPT:
            return known[0]
        try:
            _, answer = await self._engine.call("GET", f"images/{body.reference(image)}/json")
        except aiodocker.DockerError:
            return None  # creating the container will report the error
        self._images[image] = (answer["Id"], clock.monotonic())
        return str(answer["Id"])

    async def _written_to(self, content: bytes) -> str:
        path = self._folder / hashlib.sha256(content).hexdigest()[:32]
        if path.name not in self._written:
            await asyncio.to_thread(_write, path, content)
            self._written.add(path.name)
        return str(path)


def with_user(passwd: bytes, run: types.Run, *, home: str) -> bytes | None:
    """Return an image's passwd with an entry for the run's user added; None where it has one."""
    if str(run.uid).encode() in _fields(passwd, 2):
        return None
    name = _free(run.login or f"u{run.uid}", f"u{run.uid}", _fields(passwd, 0))
    return _lines(passwd) + f"{name}:x:{run.uid}:{run.gid}:{name}:{home}:/bin/sh\n".encode()


def with_groups(group: bytes, run: types.Run) -> bytes | None:
    """Return an image's group file with the run's missing groups added; None where it has all."""
    known, names = _fields(group, 2), _fields(group, 0)
    lacking = [gid for gid in dict.fromkeys((run.gid, *run.groups)) if str(gid).encode() not in known]
    if not lacking:
        return None
    lines = []
    for gid in lacking:
        name = _free(run.login if gid == run.gid and run.login else f"g{gid}", f"g{gid}", names)
        lines.append(f"{name}:x:{gid}:\n".encode())
    return _lines(group) + b"".join(lines)


def _free(wanted: str, otherwise: str, taken: Sequence[bytes]) -> str:
    return wanted if _NAME.match(wanted) and wanted.encode() not in taken else otherwise


def _fields(content: bytes, number: int) -> list[bytes]:
    rows = (line.split(b":") for line in content.split(b"\n"))
    return [row[number] for row in rows if len(row) > number]


def _lines(content: bytes) -> bytes:
    return content if not content or content.endswith(b"\n") else content + b"\n"


def _content(file: client.ImageFile | None) -> bytes | None:
    if file is None:
        return b""
    return file.content if file.is_regular and file.is_whole else None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    if path.exists():
        return
    # Under a temporary name first: a container may be started with the file at any moment.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    temporary.write_bytes(content)
    temporary.chmod(0o644)
    os.replace(temporary, path)
