"""Fixtures: several Docker hosts, created once per module, restored for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from godocker.docker import local_engine
from tests.cluster import requirements, running
from tests.cluster.cluster import Cluster
from tests.cluster.commands import ClusterError
from tests.support.servers.engine import cannot_have


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[Cluster]:
    """Run three hosts as in `cluster.SMALL`."""
    with ExitStack() as stack:
        check_requirements()
        try:
            made = stack.enter_context(running.cluster("tests"))
        except (local_engine.EngineUnavailable, ClusterError) as error:
            cannot_have("docker", str(error))
        yield made


@pytest.fixture
def cluster(module_cluster: Cluster) -> Iterator[Cluster]:
    """Return the module's three hosts; after the test everything done to them is undone and nothing runs on them."""
    yield module_cluster
    module_cluster.restore()


def check_requirements() -> None:
    """Skip the test, or fail it if Docker is required, unless hosts can run here."""
    try:
        local_engine.install()
        requirements.check()
    except (local_engine.EngineUnavailable, ClusterError) as error:
        cannot_have("docker", str(error))
