"""Checks of a host from inside a container: its view of `shared_dir`, and free space for images."""

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
_TRIES = 20  #: smallest images to try; some may have no shell
_FULL, _FILLING = 1 * GB, 10 * GB  #: bytes free for images and containers

#: Mount point of the marker. It has a mount of its own because a read-only mount does not show the host's other options.
_MARKER = "/godocker-doctor"
#: Prints 0 if the marker exists, then `noexec` if the host's mount has that option, then the `df` line of the container's root,
#: which is on the file system of the images.
_SCRIPT = """\
test -e "$1"; echo $?
while read -r _ point _ options _; do
  case "$point ,$options," in "$2 "*,noexec,*) echo noexec ;; esac
done < /proc/mounts
df -Pk / | tail -n 1
"""


def check(part: str, node: Node, shared_dir: Path) -> list[findings.Finding]:
    """
    Run one of the host's images briefly, without network, as nobody, with a marker file in `shared_dir`. Skipped checks are
    reported as warnings.
    """
    marker = shared_dir / f".godocker-doctor-{secrets.token_hex(8)}"
    try:
        marker.touch(mode=0o600)
    except OSError as error:
        return [
            findings.warning(
                part, f"shared_dir was not checked from this host: {marker.parent} on this machine: {error.strerror}"
            )
        ]
    try:
        with engine_probe.client(node, timeout=TIMEOUT) as http:
            return inside(part, http, marker)
    except (httpx.HTTPError, OSError, ValueError) as error:
        return [findings.warning(part, f"shared_dir and disk were not checked: {error or type(error).__name__}")]
    finally:
        marker.unlink(missing_ok=True)


def inside(part: str, http: httpx.Client, marker: Path) -> list[findings.Finding]:
    """Return the findings of a container on the engine of `http`. `marker` is a file in `shared_dir`."""
    listed = _answer(http.get("/images/json"))
    images = sorted((image for image in listed if image.get("RepoTags")), key=lambda image: float(image.get("Size", 0)))
    if not images:
        return [
            findings.warning(part, "shared_dir and disk were not checked: the host has no image yet. Pull a small one")
        ]
    output = None
    for image in images[:_TRIES]:
        try:
            output = _run(http, str(image["Id"]), marker)
        except errors.StartRefused as error:
            if "bind source path does not exist" in str(error):
                return [check_shared_dir(part, marker.parent, seen=False)]
        if output:
            break
    return parse(part, marker.parent, output or "")


def _run(http: httpx.Client, image: str, marker: Path) -> str:
    """Run the script in a container and return its output. Raises `errors.StartRefused`."""
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
    """Return the text of the engine's multiplexed stream: each piece has an 8-byte header that ends with its length."""
    pieces = []
    while len(frames) > 8:
        length = int.from_bytes(frames[4:8], "big")
        pieces.append(frames[8 : 8 + length])
        frames = frames[8 + length :]
    return b"".join(pieces).decode(errors="replace")


def parse(part: str, shared_dir: Path, output: str) -> list[findings.Finding]:
    """Return the findings of the script's output; pure."""
    lines = output.splitlines()
    if not lines or lines[0] not in ("0", "1"):
        return [
            findings.warning(
                part, "shared_dir and disk were not checked: the smallest images of the host have no /bin/sh"
            )
        ]
    results = [check_shared_dir(part, shared_dir, seen=lines[0] == "0")]
    if "noexec" in lines[1:]:
        detail = "is mounted noexec there: scripts whose first line names an interpreter cannot run; mount it with exec"
        results.append(findings.bad(part, f"{shared_dir} {detail}"))
    words = lines[-1].split()
    if len(words) >= 4 and words[3].isdigit():
        results.append(check_space(part, int(words[3]) * 1024))
    return results


def check_shared_dir(part: str, shared_dir: Path, *, seen: bool) -> findings.Finding:
    if seen:
        return findings.well(part, f"{shared_dir} is the same directory as on this machine")
    return findings.bad(
        part, f"{shared_dir} is missing, or another directory than on this machine: mount it at this path"
    )


def check_space(part: str, free: float) -> findings.Finding:
    detail = f"{free / GB:.1f} GB free for images and containers"
    if free < _FULL:
        return findings.bad(part, f"{detail}: remove images (docker image prune -a), or use a larger disk")
    return findings.warning(part, detail) if free < _FILLING else findings.well(part, detail)
