"""Small file systems for images, made of programs of this machine and their libraries, and broken ones."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path

_TOOLS = (
    *(
        "cat",
        "chmod",
        "date",
        "env",
        "find",
        "grep",
        "gzip",
        "id",
        "ln",
        "ls",
        "mkdir",
        "mv",
        "nohup",
        "rm",
        "seq",
        "setsid",
    ),
    *("sleep", "tail", "tee", "timeout", "touch", "wc"),
)
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/srv:/bin/false\n"


def with_shell(shell: str) -> bytes:
    """Return a system whose /bin/sh is `shell` (`dash`, `bash`), with bash and the usual tools."""
    return archive({"bin/sh": shell}, programs=(*_TOOLS, "bash", "dash"))


def archive(
    links: Mapping[str, str] | None = None,
    *,
    programs: Collection[str] = (),
    files: Mapping[str, tuple[bytes, int]] | None = None,
) -> bytes:
    """Return a tar archive of a system: programs of this machine by their names in /bin, links, and files with their modes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            made.addfile(entry)
        contents = {"etc/passwd": (_PASSWD, 0o644), "etc/group": (b"root:x:0:\nwww:x:33:\n", 0o644)}
        for name in programs:
            path = Path(shutil.which(name) or f"/bin/{name}").resolve()
            contents[f"bin/{name}"] = (path.read_bytes(), 0o755)
            contents |= {library.lstrip("/"): (Path(library).read_bytes(), 0o755) for library in _libraries(path)}
        for name, (content, mode) in (contents | dict(files or {})).items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            made.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            made.addfile(entry)
    return buffer.getvalue()


def _libraries(program: Path) -> list[str]:
    done = subprocess.run(["ldd", program], check=False, capture_output=True, text=True, timeout=10)
    return re.findall(r"(/\S+)", "\n".join(line.split("=>")[-1] for line in done.stdout.splitlines()))
