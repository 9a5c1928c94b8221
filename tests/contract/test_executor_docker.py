"""Promises of the Docker executor alone, on a real engine."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from godocker.docker import local_engine
from shared import errors
from shared.executors import types
from shared.executors.docker import body, client, container_ids, events, skew
from shared.executors.docker import executor as docker
from shared.models.task import Place
from tests.support import waiting
from tests.support.harness import rigs
from tests.support.servers import certificates, proxy, registry
from tests.support.servers import engine as fixtures

pytestmark = pytest.mark.docker


@pytest.fixture
async def rig(docker_engine: local_engine.LocalEngine) -> AsyncIterator[rigs.Rig]:
    async with rigs.rig("docker", docker_engine.url) as made:
        yield made


@pytest.fixture
async def other(docker_engine: local_engine.LocalEngine) -> AsyncIterator[rigs.Rig]:
    """Return another GoDocker instance on the same host."""
    async with rigs.rig("docker", docker_engine.url) as made:
        yield made


async def ask(local: local_engine.LocalEngine, method: str, path: str, **arguments: Any) -> Any:
    """Call the engine directly, bypassing the executor."""

    def call() -> Any:
        with local.client() as http:
            answer = http.request(method, path, **arguments)
            answer.raise_for_status()
            return answer.json() if answer.content else None

    return await asyncio.to_thread(call)


def fifo(run: types.Run) -> Path:
    """Yield the pipe that a run reads from."""
    path = Path(run.directory) / "gate"
    if not path.exists():
        os.mkfifo(path)
        path.chmod(0o666)
    return path


async def names(local: local_engine.LocalEngine) -> list[str]:
    return [name for item in await ask(local, "GET", "/containers/json?all=1") for name in item["Names"]]


# --- the engine's view of a run ----------------------------------------------


NOTHING = (
    *("Binds", "CapAdd", "CgroupParent", "DeviceCgroupRules", "DeviceRequests", "Devices", "Dns", "DnsOptions"),
    *("Links", "OomKillDisable", "PidMode", "PortBindings", "Privileged", "PublishAllPorts", "Sysctls"),
    *("UTSMode", "UsernsMode", "VolumesFrom", "VolumeDriver", "Annotations", "StorageOpt", "Tmpfs", "AutoRemove"),
)


async def test_the_container_of_a_plain_task_is_confined(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine
) -> None:
    run = await rig.start("sleep 30", groups=(30001,))
    found = await ask(docker_engine, "GET", f"/containers/{run.handle.name}/json")
    expected = {
        "CapDrop": ["ALL"],
        "GroupAdd": ["30001"],
        "Init": True,
        "IpcMode": "private",
        "LogConfig": {"Type": "none", "Config": {}},
        "Memory": rigs.MEMORY,
        "MemorySwap": rigs.MEMORY,
        "NanoCpus": 500_000_000,
        "NetworkMode": "none",
        "PidsLimit": rig.config.pids_limit,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "SecurityOpt": ["no-new-privileges"],
        "ShmSize": rigs.MEMORY,
        "Ulimits": [
            {"Name": "core", "Hard": 0, "Soft": 0},
            {"Name": "nofile", "Hard": 16384, "Soft": 8192},
            {"Name": "nproc", "Hard": 16384, "Soft": 16384},
        ],
        "ExtraHosts": [f"task-{run.handle.task_id}:127.0.0.1"],
    }
    config = found["HostConfig"]
    assert {key: config.get(key) for key in expected} == expected
    assert "/proc/kcore" in config["MaskedPaths"]
    assert "/proc/sys" in config["ReadonlyPaths"]
    # Engines write "nothing" in several ways.
    assert {key: config[key] for key in NOTHING if config.get(key)} == {}
    assert found["Config"]["User"] == f"{rigs.UID}:{rigs.GID}"
    assert found["Config"]["Labels"] == {
        **body.labels(run.handle, instance=rig.config.instance),
        body.DIRECTORY: run.directory,
    }
    mounts = {mount["Destination"]: (mount["Source"], mount["RW"], mount["Propagation"]) for mount in found["Mounts"]}
    accounts = [mounts.pop(path) for path in ("/etc/passwd", "/etc/group")]
    assert all(Path(source).parent == rig.config.shared_dir / "accounts" for source, _, _ in accounts)
    assert {(writable, propagation) for _, writable, propagation in accounts} == {(False, "rprivate")}
    assert mounts == {
        types.WORKDIR: (run.directory, True, "rprivate"),
        types.ATTEMPTS: (run.state, True, "rprivate"),
    }
    assert list(found["NetworkSettings"]["Networks"]) == ["none"]


async def test_volumes_are_mounted_as_requested_and_home_is_in_the_environment(rig: rigs.Rig, tmp_path: Path) -> None:
    with rigs.directory() as outside:
        (outside / "data").mkdir(mode=0o777)
        (outside / "data").chmod(0o777)
        (outside / "data" / "there").write_text("read\n")
        mounts = [
            types.Mount("home", str(outside / "data"), types.HOME, read_only=False),
            types.Mount("db", str(outside / "data"), "/db", read_only=True),
        ]
        script = 'cat /db/there; touch /db/new || echo refused; echo made > "$GODOCKER_HOME/made"; echo "$HOME"'
        run = await rig.start(script, mounts=mounts)
        await rig.ended(run)
        assert rig.file(run, "god.log").read_text() == f"read\nrefused\n{types.HOME}\n"
        assert (outside / "data" / "made").read_text() == "made\n"
        assert not (outside / "data" / "new").exists()


async def test_root_is_root_in_its_directory_and_nowhere_else(rig: rigs.Rig) -> None:
    with rigs.directory() as outside:
        script = "id -u; touch /data/new || echo refused; touch mine; chown 20001 mine; grep CapEff /proc/self/status"
        run = await rig.start(script, root=True, mounts=[types.Mount("data", str(outside), "/data", read_only=False)])
        await rig.ended(run)
        uid, refused, capabilities = rig.file(run, "god.log").read_text().splitlines()
        assert (uid, refused) == ("0", "refused")
        # chown(0) dac_override(1) fowner(3) kill(5) setgid(6) setuid(7): capabilities(7)
        assert int(capabilities.split()[1], 16) == 0b11101011
        assert rig.file(run, "mine").stat().st_uid == 20001


async def test_a_directory_to_mount_that_is_missing_is_named_and_not_made(rig: rigs.Rig, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    run = await rig.run("exit 0", mounts=[types.Mount("data", str(missing), "/data", read_only=True)])
    with pytest.raises(errors.StartRefused, match=str(missing)):
        await rig.executor.start(run)
    assert not missing.exists()
    assert await rig.executor.inspect(run.handle) is None


async def test_a_fork_bomb_stays_in_its_container(rig: rigs.Rig) -> None:
    confined = docker.DockerExecutor(rig.config.model_copy(update={"pids_limit": 32}))
    run = await rig.run("i=0; while [ $i -lt 100 ]; do sleep 30 & i=$((i+1)); echo $i; done")
    await confined.start(run)
    assert (await rig.ended(run)).exit_code != 0
    assert "fork" in rig.file(run, "god.err").read_text()
    assert 20 < len(rig.file(run, "god.log").read_text().split()) < 32
    await confined.close()


async def test_out_of_memory_is_reported(rig: rigs.Rig) -> None:
    async with rig.watched() as seen:
        run = await rig.start("exec tail /dev/zero", memory=32 * 1024**2)
        ended = await rig.ended(run)
        assert ended.exit_code == 137
        assert ended.out_of_memory
        await waiting.until(
            lambda: types.EventKind.OUT_OF_MEMORY in [event.kind for event in seen], "the event says so too"
        )


# --- images ----------------------------------------------------------------------

ROUNDS = 5


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, errors.ImageNotFound),
        (401, errors.ImageNotAllowed),
        (429, errors.ImageThrottled),
        (403, errors.ImageNotFound),  # the engine's words are those for a repository that does not exist
        (500, errors.ImageUnreachable),
    ],
)
async def test_errors_of_registries_are_distinguished(rig: rigs.Rig, status: int, error: type[Exception]) -> None:
    async with registry.answering(status) as address:
        for number in range(ROUNDS):
            run = await rig.run("exit 0", image=f"{address}/group/image:{number}")
            with pytest.raises(error, match=f"{address}/group/image:{number}"):
                await rig.executor.prepare(run)


@pytest.mark.parametrize("layer", [registry.Layer.HANG, registry.Layer.DRIP, registry.Layer.TRUNCATED])
async def test_a_pull_that_does_not_come_to_its_end_is_ended_and_can_be_tried_again(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine, layer: registry.Layer
) -> None:
    hurried = rig.another(pull_timeout=0.5)
    async with registry.serving(layer) as served:
        for _ in range(ROUNDS):
            run = await rig.run("exit 0", image=f"{served.address}/image")
            with pytest.raises(errors.ImageUnreachable, match=r"in 0\.5 s"):
                await hurried.prepare(run)
        served.layer = registry.Layer.WHOLE
        await rig.executor.prepare(run)
        await ask(docker_engine, "DELETE", f"/images/{run.image}:latest")


@pytest.fixture
def full_engine(docker_engine: local_engine.LocalEngine) -> Iterator[local_engine.LocalEngine]:
    """Yield an engine whose disk has about 20 MB."""
    with rigs.directory() as place:
        disk = place / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], check=True, timeout=20)
        local = local_engine.LocalEngine(place / "engine", options=("--data-root", str(disk)))
        try:
            local.start()
            yield local
        finally:
            local.take_down()
            subprocess.run(["umount", "-l", disk], check=True, timeout=20)


async def test_an_image_for_which_there_is_no_disk_is_the_nodes_trouble(
    rig: rigs.Rig, full_engine: local_engine.LocalEngine
) -> None:
    executor = rig.another(nodes=[rig.config.nodes[0].model_copy(update={"url": full_engine.url})])
    async with registry.serving(size=24 * 1024**2) as served:
        for _ in range(ROUNDS):
            run = await rig.run("exit 0", image=f"{served.address}/image")
            with pytest.raises(errors.NodeFull, match="no space left"):
                await executor.prepare(run)


async def test_concurrent_requests_for_an_image_pull_it_once(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine
) -> None:
    async with registry.serving() as served:
        run = await rig.run("exit 0", image=f"{served.address}/image")
        await asyncio.gather(*(rig.executor.prepare(run) for _ in range(10)))
        assert served.layers_sent == 1
        await ask(docker_engine, "DELETE", f"/images/{run.image}:latest")


async def test_a_removed_image_that_is_slow_to_come_back_holds_up_a_start_no_longer_than_any_other(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine
) -> None:
    executor = rig.another(start_timeout=1.0)
    async with registry.serving() as served:
        run = await rig.run("exit 0", image=f"{served.address}/image")
        await executor.prepare(run)
        await ask(docker_engine, "DELETE", f"/images/{run.image}:latest")
        served.layer = registry.Layer.HANG
        with pytest.raises(errors.NodeUnavailable, match="not back yet"):
            await executor.start(run)


async def test_a_registry_that_is_silent_or_gone_is_unreachable(rig: rigs.Rig) -> None:
    executor = docker.DockerExecutor(rig.config.model_copy(update={"pull_timeout": 0.5}))
    async with registry.answering(None) as address:
        run = await rig.run("exit 0", image=f"{address}/image")
        with pytest.raises(errors.ImageUnreachable, match=r"in 0\.5 s"):
            await executor.prepare(run)
    await executor.close()
    run = await rig.run("exit 0", image=f"{address}/image")
    with pytest.raises(errors.ImageUnreachable, match="refused"):
        await rig.executor.prepare(run)


async def test_one_image_that_hangs_holds_up_no_other(rig: rigs.Rig) -> None:
    async with registry.answering(None) as address:
        slow = await rig.run("exit 0", image=f"{address}/image")
        waiting_for_it = asyncio.create_task(rig.executor.prepare(slow), name="slow pull")
        run = await rig.start("exit 0")
        assert (await rig.ended(run)).exit_code == 0
        assert not waiting_for_it.done()
        waiting_for_it.cancel()
        await asyncio.wait({waiting_for_it})
        assert waiting_for_it.cancelled()


@pytest.mark.parametrize("image", ["", "UPPER", "../../etc", "a b", "x?all=1", "x#y", "http://x/y", "a" * 600, "-x"])
async def test_an_invalid_image_name_reaches_no_engine(rig: rigs.Rig, image: str) -> None:
    run = await rig.run("exit 0", image=image)
    for call in (rig.executor.prepare, rig.executor.start):
        with pytest.raises(errors.ImageNotFound):
            await call(run)


async def test_an_image_removed_behind_our_back_is_brought_again(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine
) -> None:
    async with registry.answering(404) as address:
        image = f"{address}/copy"
        tag = {"repo": image, "tag": "latest"}
        await ask(docker_engine, "POST", f"/images/{fixtures.IMAGE}/tag", params=tag)
        run = await rig.run("exit 0", image=image)
        await rig.executor.prepare(run)
        await ask(docker_engine, "DELETE", f"/images/{image}:latest")
        # Assumed to exist until the create fails; then it is pulled, which fails here for a clear reason.
        await rig.executor.prepare(run)
        with pytest.raises(errors.ImageNotFound, match="manifest unknown"):
            await rig.executor.start(run)
        await ask(docker_engine, "POST", f"/images/{fixtures.IMAGE}/tag", params=tag)
        await rig.executor.start(run)
        assert (await rig.ended(run)).exit_code == 0
        await rig.executor.remove(run.handle)
        await ask(docker_engine, "DELETE", f"/images/{image}:latest")


async def test_an_image_without_a_shell_ends_without_a_trace_of_the_wrapper(rig: rigs.Rig) -> None:
    run = await rig.run("exit 0", image=fixtures.IMAGE_WITHOUT_SHELL)
    # With an init in the container, the engine cannot know: it starts.
    await rig.executor.start(run)
    assert (await rig.ended(run)).exit_code == 127
    assert await rig.tasks.read_result(Place(run.handle.task_id), 1) is None


async def test_a_start_that_fails_leaves_no_container(rig: rigs.Rig, docker_engine: local_engine.LocalEngine) -> None:
    executor = docker.DockerExecutor(rig.config.model_copy(update={"docker_network": "no-such-network"}))
    run = await rig.run("exit 0", network="public")
    with pytest.raises(errors.StartRefused, match="no-such-network"):
        await executor.start(run)
    assert f"/{run.handle.name}" not in await names(docker_engine)
    await executor.close()


# --- others on the same engine ---------------------------------------------------


async def test_two_instances_on_one_host_never_touch_each_others_containers(rig: rigs.Rig, other: rigs.Rig) -> None:
    theirs = await other.start("sleep 30")
    ours = await rig.run("sleep 30", task_id=theirs.handle.task_id)
    with pytest.raises(errors.StartRefused, match="is a copy"):
        await rig.executor.start(replace(ours, handle=theirs.handle))
    async with rig.watched() as seen:
        await rig.executor.pause(ours.handle)
        await rig.executor.stop(ours.handle, grace=0)
        await rig.executor.remove(ours.handle)
        assert await rig.executor.inspect(ours.handle) is None
        assert await rig.executor.stats(ours.handle) is None
        assert list(await rig.executor.list("n1")) == []
        assert await other.state(theirs) is types.RunState.RUNNING
        await other.executor.stop(theirs.handle, grace=0)
        run = await rig.start("exit 0")
        await rig.ended(run)
        await waiting.until(lambda: len(seen) >= 3, "our own events come")
        assert {event.handle for event in seen} == {None, run.handle}


async def test_a_container_without_marks_is_adopted_only_by_the_system_with_its_directory(
    docker_engine: local_engine.LocalEngine, rig: rigs.Rig, other: rigs.Rig
) -> None:
    """All systems of that version had the same name."""
    before = rig.another(instance="godocker")
    run = await rig.run("read line < gate; exit 7")
    run = replace(run, handle=replace(run.handle, system=None))
    fifo(run)
    await before.start(run)
    ours, theirs = [
        docker.DockerExecutor(one.config, types.Owner(mark, earlier="godocker"))
        for one, mark in ((rig, "marka"), (other, "markb"))
    ]
    try:
        assert [seen.handle.name for seen in await ours.list("n1")] == [run.handle.name]
        assert await theirs.list("n1") == []
        assert await theirs.inspect(run.handle) is None
        await theirs.stop(run.handle, grace=0)
        await theirs.remove(run.handle)
        with pytest.raises(errors.StartRefused, match="the GoDocker system godocker"):
            await theirs.start(run)
        async with rig.watched(ours) as seen:
            await ours.start(run)  # the same attempt: it is adopted
            assert await ours.inspect(run.handle) is not None
            fifo(run).write_text("\n")
            await waiting.until(
                lambda: [event.exit_code for event in seen if event.exit_code is not None] == [7], "its end"
            )
        await ours.remove(run.handle)
        assert f"/{run.handle.name}" not in await names(docker_engine)
    finally:
        await ours.close()
        await theirs.close()


async def test_a_copy_with_the_mark_of_its_original_touches_nothing_of_it(rig: rigs.Rig, other: rigs.Rig) -> None:
    run = await rig.start("sleep 30")
    copy = docker.DockerExecutor(other.config, rig.owner)
    own = replace(await other.run("exit 0", task_id=run.handle.task_id), handle=run.handle)
    try:
        assert await copy.list("n1") == []
        await copy.stop(run.handle, grace=0)
        await copy.remove(run.handle)
        with pytest.raises(errors.StartRefused, match="a copy of this system"):
            await copy.start(own)
        assert await rig.state(run) is types.RunState.RUNNING
    finally:
        await copy.close()


async def test_a_name_taken_by_a_stranger_is_refused(rig: rigs.Rig, docker_engine: local_engine.LocalEngine) -> None:
    run = await rig.run("exit 0")
    content = {"Image": fixtures.IMAGE, "Cmd": ["/bin/true"], "HostConfig": {"NetworkMode": "none"}}
    await ask(docker_engine, "POST", f"/containers/create?name={run.handle.name}", json=content)
    with pytest.raises(errors.StartRefused, match="somebody else"):
        await rig.executor.start(run)
    await rig.executor.remove(run.handle)
    assert f"/{run.handle.name}" in await names(docker_engine)
    await ask(docker_engine, "DELETE", f"/containers/{run.handle.name}")


async def test_a_removal_by_an_outsider_is_reported(rig: rigs.Rig, docker_engine: local_engine.LocalEngine) -> None:
    async with rig.watched() as seen:
        run = await rig.start("echo > ready; sleep 30")
        await rig.written(run, "ready")
        await ask(docker_engine, "DELETE", f"/containers/{run.handle.name}?force=1")
        await waiting.until(lambda: types.EventKind.REMOVED in [event.kind for event in seen], "the removal is told of")
    assert [event.exit_code for event in seen if event.kind is types.EventKind.EXITED] == [137]
    assert await rig.executor.inspect(run.handle) is None
    assert list(await rig.executor.list("n1")) == []


async def test_a_container_that_was_only_created_is_started(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine
) -> None:
    run = await rig.run("echo started >> witness")
    content = body.create_body(run, instance=rig.config.instance, network="none", pids_limit=100)
    await ask(docker_engine, "POST", f"/containers/create?name={run.handle.name}", json=content)
    assert await rig.state(run) is types.RunState.CREATED
    await rig.executor.start(run)
    assert (await rig.ended(run)).exit_code == 0
    assert rig.file(run, "witness").read_text() == "started\n"


# --- the way to the engine -------------------------------------------------------


@pytest.fixture
async def through(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine, tmp_path: Path
) -> AsyncIterator[tuple[docker.DockerExecutor, proxy.Proxy]]:
    """Yield an executor that reaches the engine through a proxy, and the proxy."""
    async with proxy.between(tmp_path, docker_engine.socket) as between:
        executor = docker.DockerExecutor(via(rig, between.url, docker_timeout=5.0, start_timeout=5.0))
        try:
            yield executor, between
        finally:
            await executor.close()


def via(rig: rigs.Rig, url: str, **update: Any) -> Any:
    node = rig.config.nodes[0].model_copy(update={"url": url})
    return rig.config.model_copy(update={"nodes": [node], **update})


async def test_a_launch_takes_two_calls(rig: rigs.Rig, through: tuple[docker.DockerExecutor, proxy.Proxy]) -> None:
    executor, between = through
    first = await rig.run("exit 0")
    await executor.prepare(first)
    await executor.start(first)  # the first of an image: its users are read
    between.requests.clear()
    run = await rig.run("exit 0")
    await executor.prepare(run)
    await executor.start(run)
    verbs = [request.split("?")[0].split("/", 2)[::2] for request in between.requests]
    assert [verb for verb, _ in verbs] == ["POST ", "POST "]
    assert verbs[0][1] == "containers/create"
    assert verbs[1][1].endswith("/start")


@pytest.mark.parametrize("seen_by", ["start", "list", "events"])
async def test_a_removal_takes_one_call(
    rig: rigs.Rig, through: tuple[docker.DockerExecutor, proxy.Proxy], seen_by: str
) -> None:
    executor, between = through
    starter = executor if seen_by == "start" else rig.executor
    run = await rig.run("exit 0")
    async with rig.watched(executor if seen_by == "events" else rig.another()) as seen:
        await starter.start(run)
        await waiting.until(lambda: types.EventKind.EXITED in [event.kind for event in seen], "the end is told of")
        # Any call: before its first one, the client asks for the API's version.
        await (executor.list(rig.node) if seen_by == "list" else executor.nodes())
        between.requests.clear()
        await executor.remove(run.handle)
    assert [request.split(" ")[0] for request in between.requests] == ["DELETE"], between.requests
    assert await rig.executor.inspect(run.handle) is None


async def test_a_container_with_a_known_run_s_name_is_removed_only_if_it_is_that_run(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine
) -> None:
    run = await rig.start("exit 0")
    await ask(docker_engine, "DELETE", f"/containers/{run.handle.name}?force=1")
    content = {"Image": fixtures.IMAGE, "Cmd": ["/bin/true"], "HostConfig": {"NetworkMode": "none"}}
    await ask(docker_engine, "POST", f"/containers/create?name={run.handle.name}", json=content)
    await rig.executor.remove(run.handle)
    assert f"/{run.handle.name}" in await names(docker_engine), "a stranger's is not ours to remove"
    await ask(docker_engine, "DELETE", f"/containers/{run.handle.name}")
    await rig.executor.start(run)
    await ask(docker_engine, "DELETE", f"/containers/{run.handle.name}?force=1")
    await rig.another().start(run)
    await rig.executor.remove(run.handle)
    assert await rig.executor.inspect(run.handle) is None, "ours is, though it is not the container that was seen"


async def test_a_start_whose_answer_is_lost_is_repeated_without_a_second_run(
    rig: rigs.Rig, through: tuple[docker.DockerExecutor, proxy.Proxy]
) -> None:
    executor, between = through
    run = await rig.run("echo started >> witness; sleep 30")
    await executor.prepare(run)
    between.stall_answers(True)
    hurried = docker.DockerExecutor(via(rig, between.url, start_timeout=0.5, docker_timeout=0.5))
    with pytest.raises(errors.NodeUnavailable, match="n1"):
        await hurried.start(run)
    await hurried.close()
    between.stall_answers(False)
    await executor.start(run)
    assert await rig.written(run, "witness") == "started\n"
    assert [seen.handle for seen in await rig.executor.list("n1")] == [run.handle]


async def test_a_container_that_the_engine_hangs_at_hides_no_other(
    rig: rigs.Rig, through: tuple[docker.DockerExecutor, proxy.Proxy]
) -> None:
    _, between = through
    runs = [await rig.start("exit 3") for _ in range(2)]
    for run in runs:
        await rig.ended(run)
    hurried = docker.DockerExecutor(via(rig, between.url, docker_timeout=1.0))
    between.hush(r"GET /\S*containers/[0-9a-f]{64}/json")
    told = {seen.handle: (seen.state, seen.exit_code) for seen in await hurried.list("n1")}
    assert told == {run.handle: (types.RunState.RUNNING, None) for run in runs}
    between.hush(None)
    told = {seen.handle: (seen.state, seen.exit_code) for seen in await hurried.list("n1")}
    assert told == {run.handle: (types.RunState.EXITED, 3) for run in runs}
    await hurried.close()


async def test_a_connection_cut_in_the_middle_is_not_an_answer(
    rig: rigs.Rig, through: tuple[docker.DockerExecutor, proxy.Proxy]
) -> None:
    executor, between = through
    run = await rig.run("exit 0")
    await executor.prepare(run)
    between.stall_answers(True)
    starting = asyncio.create_task(executor.start(run), name="start")
    await waiting.until(lambda: any("/create" in request for request in between.requests), "the request went through")
    between.cut()
    with pytest.raises(errors.NodeUnavailable):
        await starting
    between.stall_answers(False)
    await executor.start(run)
    assert (await rig.ended(run)).exit_code == 0


async def test_an_event_stream_that_is_cut_resumes_and_says_so(
    rig: rigs.Rig, through: tuple[docker.DockerExecutor, proxy.Proxy]
) -> None:
    executor, between = through
    async with rig.watched(executor) as seen:
        run = await rig.start("sleep 30")
        await waiting.until(lambda: types.EventKind.STARTED in [event.kind for event in seen], "the start is told of")
        between.cut()
        await rig.executor.stop(run.handle, grace=0)
        await waiting.until(resyncs(seen, 2), "the stream is there again")
        # It happened while nobody listened; later events are requested from the engine.
        await waiting.until(lambda: types.EventKind.EXITED in [event.kind for event in seen], "the end is told of")
        second = await rig.start("exit 0")
        await waiting.until(
            lambda: any(event.handle == second.handle for event in seen), "later events are told of as well"
        )


async def test_a_silent_connection_is_replaced(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine, tmp_path: Path
) -> None:
    async with proxy.between(tmp_path, docker_engine.socket) as between:
        node = rig.config.nodes[0].model_copy(update={"url": between.url})
        through = client.Engine(node, timeout=5.0)
        seen: list[types.Event] = []

        async def collect() -> None:
            stream = events.watch(
                through,
                owner=rig.owner,
                root=str(rig.config.shared_dir),
                seen=container_ids.Known(),
                skew=skew.Skew("n1"),
                silence=3.0,
                jitter=lambda: 0.0,
            )
            async for event in stream:
                seen.append(event)

        task = asyncio.create_task(collect(), name="collect events")
        try:
            await waiting.until(resyncs(seen, 1), "the stream is there")
            first = await rig.start("exit 0")
            await waiting.until(lambda: first.handle in [event.handle for event in seen], "the stream flows")
            between.stall()
            run = await rig.start("exit 0")
            await waiting.until(lambda: run.handle in [event.handle for event in seen], "what was missed is told of")
            assert resyncs(seen, 2)()
        finally:
            task.cancel()
            await asyncio.wait({task})
            await through.close()


def resyncs(seen: list[types.Event], count: int) -> Callable[[], bool]:
    return lambda: [event.kind for event in seen].count(types.EventKind.RESYNC) >= count


async def test_a_restarted_engine_reports_the_ends_of_the_meantime(
    rig: rigs.Rig, docker_engine: local_engine.LocalEngine
) -> None:
    async with rig.watched() as seen:
        run = await rig.start("echo > ready; sleep 30")
        await rig.written(run, "ready")
        await asyncio.to_thread(docker_engine.stop)
        try:
            [report] = await rig.executor.nodes()
            assert not report.ready
            assert report.reason
            for call in (rig.executor.start(run), rig.executor.list("n1"), rig.executor.stop(run.handle, grace=0)):
                with pytest.raises(errors.NodeUnavailable, match="n1"):
                    await call
        finally:
            await asyncio.to_thread(docker_engine.start)
        await waiting.until(resyncs(seen, 2), "the stream is there again")
    [report] = await rig.executor.nodes()
    assert report.ready
    ended = await rig.ended(run)
    assert ended.exit_code in (137, 143, 255)
    assert [one.state for one in await rig.executor.list("n1")] == [types.RunState.EXITED]


async def test_a_node_that_hangs_holds_up_the_report_for_a_bounded_time(
    rig: rigs.Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "REPORT_TIMEOUT", 0.5)
    async with registry.answering(None) as address:
        sick = rig.config.nodes[0].model_copy(update={"name": "sick", "url": f"tcp://{address}"})
        gone = rig.config.nodes[0].model_copy(update={"name": "gone", "url": f"unix://{tmp_path}/none.sock"})
        config = rig.config.model_copy(update={"nodes": [*rig.config.nodes, sick, gone]})
        executor = docker.DockerExecutor(config)
        well, hanging, missing = await asyncio.wait_for(executor.nodes(), 3)
        await executor.close()
    assert well.ready
    assert (hanging.ready, missing.ready) == (False, False)
    assert "in time" in str(hanging.reason)


@pytest.fixture
async def tls(docker_engine: local_engine.LocalEngine, tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """Yield settings of a node that is reached by TCP with certificates on both sides."""
    certificates.make(tmp_path)
    port = free_port()
    options = ("--host", f"tcp://127.0.0.1:{port}", "--tlsverify", "--tlscacert", str(tmp_path / "ca.pem"))
    options += ("--tlscert", str(tmp_path / "server/cert.pem"), "--tlskey", str(tmp_path / "server/key.pem"))
    with rigs.directory() as place:
        local = local_engine.LocalEngine(place / "engine", options=options)
        try:
            await asyncio.to_thread(local.start)
            await asyncio.to_thread(local.import_image, local_engine.busybox_archive(), name="busybox")
            yield {
                "url": f"tcp://127.0.0.1:{port}",
                "tls_ca": tmp_path / "ca.pem",
                "tls_cert": tmp_path / "client/cert.pem",
                "tls_key": tmp_path / "client/key.pem",
            }
        finally:
            await asyncio.to_thread(local.take_down)


async def test_a_node_is_reached_by_tcp_with_certificates_and_not_without(rig: rigs.Rig, tls: dict[str, Any]) -> None:
    def node(**update: Any) -> docker.DockerExecutor:
        made = rig.config.nodes[0].model_copy(update={**tls, **update})
        return docker.DockerExecutor(rig.config.model_copy(update={"nodes": [made]}))

    secure = node()
    run = await rig.run("exit 7")
    await secure.start(run)

    async def code() -> int | None:
        seen = await secure.inspect(run.handle)
        return seen.exit_code if seen else None

    assert await waiting.until(code, "it has ended") == 7
    await secure.close()
    for refused in (node(tls_cert=None), node(tls_ca=None), node(tls_ca=None, tls_cert=None, tls_key=None)):
        [report] = await refused.nodes()
        assert not report.ready
        await refused.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
