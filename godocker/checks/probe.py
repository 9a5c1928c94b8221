"""Look at a host from inside a container: whether it sees our `shared_dir`, and how much room its images have."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import httpx

from godocker.checks import findings
from godocker.docker import engine_probe
from shared import errors
from shared.settings import Node
from shared.units.sizes import GB

TIMEOUT = 20.0  #: seconds for one call
_TRIES = 20  #: of the smallest images, which may be those without a shell
_FULL, _FILLING = 1 * GB, 10 * GB  #: bytes free where images and containers are

#: Where a container has the marker alone: a mount that is made read-only loses the other options of the host's.
_MARKER = "/godocker-doctor"
#: Says whether the marker is there, then `noexec` if the host's mount is such a one, then what `df` says of the container's
#: root, which lies where the images do.
_SCRIPT = """\
test -e "$1"; echo $?
while read -r _ point _ options _; do
  case "$point ,$options," in "$2 "*,noexec,*) echo noexec ;; esac
done < /proc/mounts
df -Pk / | tail -n 1
"""


def look(part: str, node: Node, shared_dir: Path) -> list[findings.Finding]:
    """
    Run one of the host's own images for a moment, without network, as nobody. What cannot be looked at is said. A marker file
    in `shared_dir` is there meanwhile.
    """
    marker = shared_dir / f".godocker-doctor-{secrets.token_hex(8)}"
    try:
        marker.touch(mode=0o600)
    except OSError as error:
        return [findings.warning(part, f"shared_dir on it is not looked at: {marker.parent} here: {error.strerror}")]
    try:
        with engine_probe.client(node, timeout=TIMEOUT) as http:
            return inside(part, http, marker)
    except (httpx.HTTPError, OSError, ValueError) as error:
        return [findings.warning(part, f"shared_dir and disk are not looked at: {error or type(error).__name__}")]
    finally:
        marker.unlink(missing_ok=True)


def inside(part: str, http: httpx.Client, marker: Path) -> list[findings.Finding]:
    """What a container sees of a host, whose engine `http` asks, and of the marker that lies in `shared_dir`."""
    found = _answer(http.get("/images/json"))
    images = sorted((image for image in found if image.get("RepoTags")), key=lambda image: float(image.get("Size", 0)))
    if not images:
        return [
            findings.warning(part, "shared_dir and disk are not looked at: there is no image yet. Pull a small one")
        ]
    said = None
    for image in images[:_TRIES]:
        try:
            said = _run(http, str(image["Id"]), marker)
        except errors.StartRefused as error:
            if "bind source path does not exist" in str(error):
                return [judge_shared_dir(part, marker.parent, seen=False)]
        if said:
            break
    return judge(part, marker.parent, said or "")


def _run(http: httpx.Client, image: str, marker: Path) -> str:
    """What the script prints. Raises `errors.StartRefused`."""
    body = {
        "Image": image,
        "Entrypoint": ["/bin/sh"],
        "Cmd": ["-c", _SCRIPT, "sh", str(marker), _MARKER],
        "User": "65534:65534",
        "WorkingDir": "/",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Memory": 64 * 1024**2,
            "PidsLimit": 16,
            "LogConfig": {"Type": "json-file", "Config": {}},
            "Mounts": [
                {"Type": "bind", "Source": str(marker.parent), "Target": str(marker.parent), "ReadOnly": True},
                {"Type": "bind", "Source": str(marker), "Target": _MARKER},
            ],
        },
    }
    name = f"godocker-doctor-{secrets.token_hex(8)}"
    made = _answer(http.post("/containers/create", params={"name": name}, json=body))
    try:
        _answer(http.post(f"/containers/{made['Id']}/start"))
        _answer(http.post(f"/containers/{made['Id']}/wait"))
        written = http.get(f"/containers/{made['Id']}/logs", params={"stdout": "1"})
        return _text(written.content)
    finally:
        http.delete(f"/containers/{made['Id']}", params={"force": "1", "v": "1"})


def _answer(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise errors.StartRefused(answer.text[:300])
    return answer.json() if answer.content else None


def _text(frames: bytes) -> str:
    """The text in what the engine multiplexes: 8 bytes of header before each piece, the length in the last four."""
    pieces = []
    while len(frames) > 8:
        length = int.from_bytes(frames[4:8], "big")
        pieces.append(frames[8 : 8 + length])
        frames = frames[8 + length :]
    return b"".join(pieces).decode(errors="replace")


def judge(part: str, shared_dir: Path, said: str) -> list[findings.Finding]:
    """What the script's output comes to: pure."""
    lines = said.splitlines()
    if not lines or lines[0] not in ("0", "1"):
        return [findings.warning(part, "shared_dir and disk are not looked at: its smallest images have no /bin/sh")]
    found = [judge_shared_dir(part, shared_dir, seen=lines[0] == "0")]
    if "noexec" in lines[1:]:
        detail = "is mounted noexec there: scripts whose first line names an interpreter cannot be executed; mount it with exec"
        found.append(findings.bad(part, f"{shared_dir} {detail}"))
    words = lines[-1].split()
    if len(words) >= 4 and words[3].isdigit():
        found.append(judge_room(part, int(words[3]) * 1024))
    return found


def judge_shared_dir(part: str, shared_dir: Path, *, seen: bool) -> findings.Finding:
    if seen:
        return findings.well(part, f"{shared_dir} is there and the same as here")
    return findings.bad(part, f"{shared_dir} is not there, or another one than here: mount it at this path")


def judge_room(part: str, free: float) -> findings.Finding:
    detail = f"{free / GB:.1f} GB free for images and containers"
    if free < _FULL:
        return findings.bad(part, f"{detail}: remove images (docker image prune -a), or give it a larger disk")
    return findings.warning(part, detail) if free < _FILLING else findings.well(part, detail)
