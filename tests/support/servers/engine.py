"""Fixtures: a Docker Engine of the tests' own, started once and taken down with all its containers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from godocker.docker import local_engine

REQUIRE = "GODOCKER_TEST_REQUIRE"  #: names, separated by commas, of the real parts without which tests fail, not skip

IMAGE = "busybox:latest"
IMAGE_WITHOUT_SHELL = "shell-less:latest"


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[local_engine.LocalEngine]:
    """An engine with the images `IMAGE` and `IMAGE_WITHOUT_SHELL`, and no way to a registry needed."""
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


WORLD = "10.99.0.1"  #: an address of the host of `networked_engine`, outside all of the engine's networks

#: A network namespace of its own: the engine may make bridges and rules there, and they go with it.
_IN_NAMESPACE = f"ip link set lo up; ip addr add {WORLD}/32 dev lo"


@pytest.fixture(scope="session")
def networked_engine() -> Iterator[local_engine.LocalEngine]:
    """
    An engine with bridges and rules, as a Docker host has them, on a host of its own, with room for seven networks; it has a
    label and was told of a GPU. Names in its network are reached by `nsenter`.
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
    """Skip the test, or fail it where the environment says that the part must be there."""
    if part in os.environ.get(REQUIRE, "").split(","):
        pytest.fail(f"{part} is required here: {reason}")
    pytest.skip(f"no {part}: {reason}")
