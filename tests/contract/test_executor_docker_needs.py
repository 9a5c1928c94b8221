"""Devices, ports, networks and temporary storage of containers, on an engine with bridges and rules of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from godocker.docker import local_engine
from shared import errors
from shared.executors import types
from shared.executors.docker import networks
from tests.contract.test_executor_docker import ask, names
from tests.support import waiting
from tests.support.harness import rigs
from tests.support.servers.engine import WORLD

pytestmark = [pytest.mark.long, pytest.mark.docker]

DEVICE = "/dev/loop7"
SERVER = """\
nc -ll -p 80 -e echo hello &
while ! nc -w 1 127.0.0.1 80 < /dev/null; do sleep 0.1; done
echo > ready
wait
"""
PORT = 10001


@pytest.fixture
async def rig(networked_engine: local_engine.LocalEngine) -> AsyncIterator[rigs.Rig]:
    async with rigs.rig("docker", networked_engine.url) as made:
        yield made


async def networks_of(local: local_engine.LocalEngine, rig: rigs.Rig) -> list[str]:
    found = await ask(local, "GET", "/networks")
    return sorted(one["Name"] for one in found if one["Name"].startswith(f"{rig.config.instance}."))


async def volumes_of(local: local_engine.LocalEngine, rig: rigs.Rig) -> list[str]:
    found = await ask(local, "GET", "/volumes")
    ours = {"godocker.instance": rig.config.instance}
    return [one["Name"] for one in found["Volumes"] or [] if one["Labels"] == ours]


async def address(local: local_engine.LocalEngine, run: types.Run) -> str:
    found = await ask(local, "GET", f"/containers/{run.handle.name}/json")
    [network] = found["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


async def reached(rig: rigs.Rig, network: str, hosts: list[str], *, port: int = 80) -> set[str]:
    """Return the hosts that answer a task in the network."""
    tries = "\n".join(f"(nc -w 6 {host} {port} < /dev/null | grep -q hello && echo {host}) &" for host in hosts)
    client = await rig.start(f"{tries}\nwait", network=network)
    await rig.ended(client)
    return set(rig.file(client, "god.log").read_text().split())


async def output(local: local_engine.LocalEngine, *command: str) -> str:
    """Return the output of a command on the engine's host."""
    entered = ["nsenter", f"--net=/proc/{local.pid}/ns/net", *command]
    done = await asyncio.to_thread(subprocess.run, entered, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
    return done.stdout.decode()


@contextlib.contextmanager
def listening(local: local_engine.LocalEngine, port: int) -> Iterator[None]:
    """Run a server on the engine's host, outside of tasks, that greets at a port."""
    command = ["busybox", "nc", "-ll", "-p", str(port), "-e", "echo", "hello"]
    with subprocess.Popen(["nsenter", f"--net=/proc/{local.pid}/ns/net", *command]) as process:
        try:
            waiting.until_blocking(lambda: f":{port:04X} " in _sockets(local), f"port {port} is listened at")
            yield
        finally:
            process.kill()


def _sockets(local: local_engine.LocalEngine) -> str:
    return "".join(Path(f"/proc/{local.pid}/net/{table}").read_text() for table in ("tcp", "tcp6"))


# --- the node's report ----------------------------------------------------------


async def test_a_nodes_labels_and_gpus_are_its_engines_under_those_of_the_configuration(rig: rigs.Rig) -> None:
    [report] = await rig.executor.nodes()
    assert report.labels == {"storage": "ssd", "rack": "1"}
    assert report.gpus == ("GPU-8f3c",)
    told = rig.config.nodes[0].model_copy(update={"labels": {"rack": "2"}, "gpus": [DEVICE]})
    executor = rig.another(nodes=[told])
    [report] = await executor.nodes()
    assert report.labels == {"storage": "ssd", "rack": "2"}
    assert report.gpus == (DEVICE,)


# --- devices ---------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists(DEVICE), reason=f"no {DEVICE}")
async def test_a_device_is_there_for_the_run_that_was_given_it_and_for_no_other(rig: rigs.Rig) -> None:
    # As root: the device's own permissions are the host's affair.
    script = f"cat {DEVICE} && echo read; ls /dev | grep -c -e loop -e fuse; echo $GODOCKER_GPUS"
    having = await rig.start(script, gpus=(DEVICE,), root=True)
    lacking = await rig.start(script, root=True)
    await rig.ended(having)
    await rig.ended(lacking)
    assert rig.file(having, "god.log").read_text() == f"read\n1\n{DEVICE}\n"
    assert rig.file(lacking, "god.log").read_text() == "0\n\n"


@pytest.mark.parametrize("gpu", ["0", "/dev/there-is-no-such-thing"])
async def test_a_device_that_the_node_does_not_have_is_named_and_leaves_nothing(
    rig: rigs.Rig, networked_engine: local_engine.LocalEngine, gpu: str
) -> None:
    run = await rig.run("exit 0", gpus=(gpu,))
    with pytest.raises(errors.StartRefused, match=f"does not have the devices {gpu}"):
        await rig.executor.start(run)
    assert f"/{run.handle.name}" not in await names(networked_engine)


# --- ports -----------------------------------------------------------------------


async def test_a_port_of_a_task_is_reached_on_its_node(
    rig: rigs.Rig, networked_engine: local_engine.LocalEngine
) -> None:
    ports = (types.PortMapping(80, PORT), types.PortMapping(8080, PORT + 1))
    run = await rig.start(f"env | grep PORT > ports; {SERVER}", network=types.PUBLIC, ports=ports)
    await rig.written(run, "ready")
    told = {f"GODOCKER_PORTS={PORT},{PORT + 1}", f"GODOCKER_PORT_80={PORT}", f"GODOCKER_PORT_8080={PORT + 1}"}
    assert set(rig.file(run, "ports").read_text().splitlines()) == told

    async def answered() -> bool:
        return await output(networked_engine, "busybox", "nc", "-w", "2", WORLD, str(PORT)) == "hello\n"

    await waiting.until(answered, "the task answers")


@pytest.mark.parametrize("by", ["a stranger", "another task"])
async def test_a_port_that_is_taken_is_named_and_nothing_is_left(
    rig: rigs.Rig, networked_engine: local_engine.LocalEngine, by: str
) -> None:
    ports = (types.PortMapping(80, PORT), types.PortMapping(81, PORT + 1))
    run = await rig.run("sleep 30", network=types.PUBLIC, ports=ports)
    with contextlib.ExitStack() as stack:
        if by == "a stranger":
            stack.enter_context(listening(networked_engine, PORT + 1))
        else:
            other = await rig.start("sleep 30", network=types.PUBLIC, ports=ports[1:])
        with pytest.raises(errors.PortTaken, match=f"port {PORT + 1} of n1") as taken:
            await rig.executor.start(run)
        assert taken.value.port == PORT + 1
        assert f"/{run.handle.name}" not in await names(networked_engine)
        if by == "another task":
            await rig.executor.remove(other.handle)
    await rig.executor.start(run)
    assert await rig.state(run) is types.RunState.RUNNING


async def test_ports_without_a_network_are_refused(rig: rigs.Rig) -> None:
    run = await rig.run("exit 0", ports=(types.PortMapping(80, PORT),))
    with pytest.raises(errors.StartRefused, match="network"):
        await rig.executor.start(run)


# --- networks --------------------------------------------------------------------


async def test_who_reaches_whom(rig: rigs.Rig, networked_engine: local_engine.LocalEngine) -> None:
    """Tasks of a user reach each other by name and the world; none reaches another user's, and in `public` none another."""
    servers = {name: await rig.start(SERVER, network=name) for name in ("user-ada", "project-p1", types.PUBLIC)}
    for run in servers.values():
        await rig.written(run, "ready")
    at = {name: await address(networked_engine, run) for name, run in servers.items()}
    ada = servers["user-ada"].handle
    hosts = [*at.values(), ada.name, f"task-{ada.task_id}"]
    seen = await asyncio.gather(*(reached(rig, name, hosts) for name in servers))
    assert dict(zip(servers, seen, strict=True)) == {
        "user-ada": {at["user-ada"], ada.name, f"task-{ada.task_id}"},
        "project-p1": {at["project-p1"]},
        types.PUBLIC: set(),
    }
    with listening(networked_engine, 8000):
        assert await asyncio.gather(*(reached(rig, name, [WORLD], port=8000) for name in servers)) == [{WORLD}] * 3


async def test_many_starts_at_once_make_one_network(rig: rigs.Rig, networked_engine: local_engine.LocalEngine) -> None:
    runs = [await rig.run("sleep 30", network="user-ada") for _ in range(6)]
    await asyncio.gather(
        *(executor.start(run) for run in runs for executor in (rig.executor, rig.another(), rig.another()))
    )
    assert await networks_of(networked_engine, rig) == [f"{rig.config.instance}.user-ada"]
    assert [await rig.state(run) for run in runs] == [types.RunState.RUNNING] * 6


async def test_a_network_goes_when_nobody_has_been_in_it_for_a_while(
    rig: rigs.Rig, networked_engine: local_engine.LocalEngine
) -> None:
    watcher = rig.another()
    run = await rig.start("exit 0", network="user-ada")
    await rig.ended(run)
    for _ in range(3):
        await watcher.list(rig.node)
    assert len(await networks_of(networked_engine, rig)) == 1, "it has a run"
    await rig.executor.remove(run.handle)
    await watcher.list(rig.node)
    assert len(await networks_of(networked_engine, rig)) == 1, "the next task may be on its way"
    await watcher.list(rig.node)
    assert await networks_of(networked_engine, rig) == []
    again = await rig.start("exit 0", network="user-ada")
    assert (await rig.ended(again)).exit_code == 0


async def test_a_network_that_is_removed_while_a_task_starts_is_made_again(
    rig: rigs.Rig, networked_engine: local_engine.LocalEngine
) -> None:
    stopped = asyncio.Event()

    async def remove() -> None:
        while not stopped.is_set():
            for name in await networks_of(networked_engine, rig):
                with contextlib.suppress(Exception):  # it is in use
                    await ask(networked_engine, "DELETE", f"/networks/{name}")

    remover = asyncio.create_task(remove(), name="remove networks")

    async def none_is_left() -> bool:
        return not await networks_of(networked_engine, rig)

    try:
        for _ in range(5):
            # The executor still assumes that it exists.
            await waiting.until(none_is_left, "the network is removed")
            run = await rig.start("exit 0", network="user-ada")
            assert (await rig.ended(run)).exit_code == 0
    finally:
        stopped.set()
        await remover


async def test_a_node_without_addresses_says_so(
    rig: rigs.Rig, networked_engine: local_engine.LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "_PAUSE", 0.0)
    made = []
    try:
        with contextlib.suppress(Exception):
            for number in range(10):
                name = f"{rig.config.instance}-filler-{number}"
                await ask(networked_engine, "POST", "/networks/create", json={"Name": name})
                made.append(name)
        run = await rig.run("exit 0", network="user-ada")
        with pytest.raises(errors.NodeFull, match="no addresses left for the network user-ada"):
            await rig.executor.start(run)
        assert f"/{run.handle.name}" not in await names(networked_engine)
    finally:
        for name in made:
            await ask(networked_engine, "DELETE", f"/networks/{name}")


async def test_a_strangers_network_of_the_same_name_is_not_used(
    rig: rigs.Rig, networked_engine: local_engine.LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "_PAUSE", 0.0)
    name = f"{rig.config.instance}.user-ada"
    await ask(networked_engine, "POST", "/networks/create", json={"Name": name})
    try:
        run = await rig.run("exit 0", network="user-ada")
        with pytest.raises(errors.StartRefused, match=f"the name {name} is taken"):
            await rig.executor.start(run)
        for _ in range(2):
            await rig.executor.list(rig.node)
        assert await networks_of(networked_engine, rig) == [name]
    finally:
        await ask(networked_engine, "DELETE", f"/networks/{name}")


# --- temporary storage --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["disk", "memory"])
@pytest.mark.parametrize("root", [False, True])
async def test_temporary_room_is_the_users_and_goes_with_the_run(
    rig: rigs.Rig, networked_engine: local_engine.LocalEngine, kind: str, root: bool
) -> None:
    executor = rig.another(tmpstorage=kind)
    script = 'cd /var/scratch; stat -c "%u %g %a" .; printf "#!/bin/sh\\necho ran\\n" > x; chmod +x x; ./x; ls'
    for _ in range(2):
        run = await rig.run(script, root=root, tmpstorage=types.TmpStorage(8 * 1024**2, "/var/scratch"))
        await executor.start(run)
        await rig.ended(run)
        owner = "0 0" if root else f"{rigs.UID} {rigs.GID}"
        assert rig.file(run, "god.log").read_text() == f"{owner} 700\nran\nx\n"
    assert len(await volumes_of(networked_engine, rig)) == (2 if kind == "disk" else 0)
    for handle in rig.started:
        await executor.remove(handle)
    assert await volumes_of(networked_engine, rig) == []


async def test_temporary_room_in_memory_ends_where_its_size_ends(rig: rigs.Rig) -> None:
    executor = rig.another(tmpstorage="memory")
    script = (
        "cd /scratch; head -c 3000000 /dev/zero > a && rm a && echo fits; head -c 5000000 /dev/zero > a || echo full"
    )
    run = await rig.run(script, tmpstorage=types.TmpStorage(4 * 1024**2, "/scratch"))
    await executor.start(run)
    await rig.ended(run)
    assert rig.file(run, "god.log").read_text() == "fits\nfull\n"


async def test_a_start_that_fails_leaves_no_volume(rig: rigs.Rig, networked_engine: local_engine.LocalEngine) -> None:
    run = await rig.run("exit 0", gpus=("0",), tmpstorage=types.TmpStorage(1024**2, "/scratch"))
    with pytest.raises(errors.StartRefused):
        await rig.executor.start(run)
    assert await volumes_of(networked_engine, rig) == []


async def test_a_volume_of_ours_without_a_container_is_removed_and_no_other(
    rig: rigs.Rig, networked_engine: local_engine.LocalEngine
) -> None:
    run = await rig.start("sleep 30", tmpstorage=types.TmpStorage(1024**2, "/scratch"))
    for name, labels in (("left", {"godocker.instance": rig.config.instance}), ("theirs", {})):
        content = {"Name": f"{rig.config.instance}-{name}", "Labels": labels}
        await ask(networked_engine, "POST", "/volumes/create", json=content)
    await rig.executor.list(rig.node)
    assert len(await volumes_of(networked_engine, rig)) == 2, "it may be about to get its container"
    await rig.executor.list(rig.node)
    assert len(await volumes_of(networked_engine, rig)) == 1
    await ask(networked_engine, "DELETE", f"/volumes/{rig.config.instance}-theirs")
    assert await rig.state(run) is types.RunState.RUNNING
