"""Choice of the demonstration's executor, and preparation of its image."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from godocker.docker import engine_probe, local_engine
from shared import errors
from shared.settings import Node

IMAGE = "busybox:latest"
_PULL_TIMEOUT = 15.0  #: seconds; the image has 2 MB
_DYNAMIC = (b"/ld-linux", b"/ld-musl")  #: names of dynamic loaders; a static program contains none


@dataclass(frozen=True, slots=True)
class Runner:
    """An executor, remarks on its choice, and the environment variables that select it in `up`."""

    executor: str
    remarks: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def choose(*, start_engine: bool) -> Iterator[Runner]:
    """
    Choose Docker if an engine answers on this machine and has or gets the image, else processes. With `start_engine`, install
    and start an engine if none answers, and remove it at the end.

    Raises `errors.ConfigurationError` if the engine cannot be started.
    """
    node = engine_probe.configured(os.environ)
    if engine_probe.answers(node):
        yield _runner(node, [f"A Docker Engine answers at {node.url}."])
    elif start_engine:
        with _temporary_engine() as own:
            yield _runner(own, ["No Docker Engine answered, so one was started."])
    else:
        yield Runner("process", [f"No Docker Engine answers at {node.url}: tasks run as processes, without isolation."])


@contextmanager
def _temporary_engine() -> Iterator[Node]:
    local = local_engine.LocalEngine(Path(tempfile.mkdtemp(prefix="godocker-engine-")))
    try:
        try:
            local_engine.install()
            local.start()
        except local_engine.EngineUnavailable as error:
            raise errors.ConfigurationError(f"cannot start a Docker Engine: {error}") from None
        yield Node(name="localhost", url=local.url)
    finally:
        local.take_down()


def _runner(node: Node, remarks: list[str]) -> Runner:
    if not node.url.startswith("unix://"):
        return Runner("process", [*remarks, "It does not share this machine's files, so tasks run as processes."])
    try:
        image_remark = _provide_image(node)
    except errors.GoDockerError as error:
        return Runner("process", [*remarks, f"{error}: tasks run as processes, without isolation."])
    return Runner("docker", [*remarks, image_remark], {"DOCKER_HOST": node.url})


def _provide_image(node: Node) -> str:
    """Provide the engine with the image, and return a sentence on its origin. Raises `errors.StartFailed`."""
    try:
        with engine_probe.client(node, timeout=_PULL_TIMEOUT) as client:
            if client.get(f"/images/{IMAGE}/json").status_code == httpx.codes.OK:
                return f"It has the image {IMAGE}."
            if _pull(client):
                return f"The image {IMAGE} was pulled."
            archive = _archive()
            answer = client.post(
                "/images/create",
                params={"fromSrc": "-", "repo": "busybox", "tag": "latest"},
                content=archive,
                headers={"Content-Type": "application/x-tar"},
            )
    except httpx.HTTPError as error:
        raise errors.StartRefused(f"the engine did not accept the image ({type(error).__name__})") from None
    if answer.is_error or '"error"' in answer.text:
        raise errors.StartRefused(f"the engine did not accept the image: {answer.text.strip()[:200]}")
    return f"No registry answered, so the image {IMAGE} was made from this machine's busybox."


def _pull(client: httpx.Client) -> bool:
    try:
        answer = client.post("/images/create", params={"fromImage": "busybox", "tag": "latest"})
    except httpx.TimeoutException:
        return False
    # A pull that fails half way has status 200 and reports the error in its last lines.
    return answer.is_success and '"error"' not in answer.text


def _archive() -> bytes:
    if not _is_static(local_engine.BUSYBOX) and os.geteuid() == 0:
        script = Path(__file__).parents[2] / ".ci" / "packages"
        if script.exists():
            subprocess.run([script, "busybox-static"], check=False, timeout=300, stdout=sys.stderr)
    if not _is_static(local_engine.BUSYBOX):
        raise errors.ImageUnreachable(
            f"no registry answers, and {local_engine.BUSYBOX} is no static program to make an image from (Debian: busybox-static)"
        )
    return local_engine.busybox_archive()


def _is_static(program: Path) -> bool:
    try:
        content = program.read_bytes()
    except OSError:
        return False
    return not any(loader in content for loader in _DYNAMIC)
