"""A server with a deployed GoDocker, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from godocker.docker import local_engine
from tests.deploy import deployment, images
from tests.deploy import server as servers
from tests.support.servers.engine import cannot_have


@dataclass(frozen=True, slots=True)
class Deployed:
    deployment: deployment.Deployment
    said: str  #: by the first run of `deploy/init`
    key: str  #: of the first admin


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """A deployment prepared by `deploy/init` and started by Compose, in good health."""
    try:
        with servers.running() as server:
            images.give(server.engine, server.directory)
            made = deployment.Deployment(server)
            said = made.init()
            key = deployment.first_key(said)
            assert key is not None, said
            made.up()
            yield Deployed(made, said, key)
    except local_engine.EngineUnavailable as error:
        cannot_have("docker", str(error))
