"""One engine under two names is found, and cloned engines are not mistaken for one; on real engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from godocker.docker import engine_probe, local_engine, twins
from shared import settings
from shared.executors import types
from shared.executors.docker import executor as docker

pytestmark = pytest.mark.docker

OWNER = types.Owner("marka")


def link(path: Path, docker_engine: local_engine.LocalEngine) -> settings.Node:
    """Yield the engine by another path to its socket."""
    path.symlink_to(docker_engine.socket)
    return settings.Node(name="n2", url=f"unix://{path}")


@pytest.fixture
def clone(docker_engine: local_engine.LocalEngine, networked_engine: local_engine.LocalEngine) -> settings.Node:
    """Yield another engine with the same ID, like that of a cloned machine."""
    node = settings.Node(name="n3", url=networked_engine.url)
    identifiers = {
        engine_probe.ask(one, "/info")["ID"] for one in (node, settings.Node(name="n1", url=docker_engine.url))
    }
    assert len(identifiers) == 1, "engines of this version take their ID from a file of the machine"
    return node


@asynccontextmanager
async def executor(tmp_path: Path, nodes: Sequence[settings.Node]) -> AsyncIterator[docker.DockerExecutor]:
    made = docker.DockerExecutor(settings.Settings(nodes=list(nodes), shared_dir=tmp_path), OWNER)
    try:
        yield made
    finally:
        await made.close()


async def test_one_engine_under_two_names_is_counted_once_and_clones_both(
    docker_engine: local_engine.LocalEngine, clone: settings.Node, tmp_path: Path
) -> None:
    first = settings.Node(name="n1", url=docker_engine.url)
    second = link(tmp_path / "docker.sock", docker_engine)
    async with executor(tmp_path, [first, second, clone]) as made:
        for _ in range(2):
            reports = {report.name: report for report in await made.nodes()}
            assert {name: report.ready for name, report in reports.items()} == {"n1": True, "n2": False, "n3": True}
            assert "the same engine as node n1" in str(reports["n2"].reason)
        await made.set_nodes([second, clone])
        assert all(report.ready for report in await made.nodes())
    with docker_engine.client() as http:
        volumes = http.get("/volumes").json()["Volumes"] or []
    assert [one["Name"] for one in volumes if "probe" in one["Name"]] == []


async def test_an_engine_that_is_a_node_already_is_not_added_by_another_address(
    docker_engine: local_engine.LocalEngine, clone: settings.Node, tmp_path: Path
) -> None:
    first = settings.Node(name="n1", url=docker_engine.url)
    second = link(tmp_path / "docker.sock", docker_engine)
    assert await asyncio.to_thread(twins.of, second, [clone, first]) == "n1"
    assert await asyncio.to_thread(twins.of, clone, [first, second]) is None
    assert await asyncio.to_thread(twins.pairs, [first, clone, second]) == [("n1", "n2")]
