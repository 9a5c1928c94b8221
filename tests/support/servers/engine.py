"""Fixtures: a Docker Engine of the tests, started once and removed with all its containers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from godocker.docker import local_engine

REQUIRE = "GODOCKER_TEST_REQUIRE"  #: names of real parts, separated by commas, without which tests fail

IMAGE = "busybox:latest"
IMAGE_WITHOUT_SHELL = "shell-less:latest"


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[local_engine.LocalEngine]:
    """Run an engine with the images `IMAGE` and `IMAGE_WITHOUT_SHELL`; it needs no registry."""
    local = local_engine.LocalEngine(Path(tempfile.mkdtemp(prefix="god-engine-")))
    try:
        try:
            local_engine.install()
            local.start()
            local.import_image(local_engine.busybox_archive(), name="busybox")
            local.import_image(local_engine.shell_less_archive(), name="shell-less")
        except local_engine.EngineUnavailable as error:
            cannot_have("docker", str(error))
        yield local
    finally:
        local.take_down()


WORLD = "10.99.0.1"  #: address of the host of `networked_engine`, outside all of the engine's networks

#: A separate network namespace: the engine may create bridges and rules there, and they disappear with it.
_IN_NAMESPACE = f"ip link set lo up; ip addr add {WORLD}/32 dev lo"


@pytest.fixture(scope="session")
def networked_engine() -> Iterator[local_engine.LocalEngine]:
    """
    Run an engine with bridges and rules, as on a Docker host, in a separate network, with room for seven networks, a label
    and a configured GPU. Names in its network are reached by `nsenter`.
    """
    options = ("--bridge=", "--iptables=true", "--default-address-pool=base=10.98.0.0/21,size=24")
    options += ("--label=storage=ssd", "--label=rack=1", "--node-generic-resource=NVIDIA-GPU=GPU-8f3c")
    launcher = ("unshare", "--net", "sh", "-c", f'{_IN_NAMESPACE}; exec "$@"', "sh")
    local = local_engine.LocalEngine(Path(tempfile.mkdtemp(prefix="god-engine-")), options=options, launcher=launcher)
    try:
        try:
            local_engine.install()
            local.start()
            local.import_image(local_engine.busybox_archive(), name="busybox")
        except local_engine.EngineUnavailable as error:
            cannot_have("docker", str(error))
        yield local
    finally:
        local.take_down()


def cannot_have(part: str, reason: str) -> None:
    """Skip the test, or fail it if the environment requires the part."""
    if part in os.environ.get(REQUIRE, "").split(","):
        pytest.fail(f"{part} is required here: {reason}")
    pytest.skip(f"no {part}: {reason}")
