"""Fixtures: a Docker Engine of the tests' own, started once and taken down with all its containers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from godocker import engine

REQUIRE = "GODOCKER_TEST_REQUIRE"  #: names, separated by commas, of the real parts without which tests fail, not skip

IMAGE = "busybox:latest"
IMAGE_WITHOUT_SHELL = "shell-less:latest"


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[engine.LocalEngine]:
    """An engine with the images `IMAGE` and `IMAGE_WITHOUT_SHELL`, and no way to a registry needed."""
    local = engine.LocalEngine(Path(tempfile.mkdtemp(prefix="god-engine-")))
    try:
        try:
            engine.install()
            local.start()
            local.import_image(engine.busybox_archive(), name="busybox")
            local.import_image(engine.shell_less_archive(), name="shell-less")
        except engine.EngineUnavailable as error:
            cannot_have("docker", str(error))
        yield local
    finally:
        local.take_down()


def cannot_have(part: str, reason: str) -> None:
    """Skip the test, or fail it where the environment says that the part must be there."""
    if part in os.environ.get(REQUIRE, "").split(","):
        pytest.fail(f"{part} is required here: {reason}")
    pytest.skip(f"no {part}: {reason}")
