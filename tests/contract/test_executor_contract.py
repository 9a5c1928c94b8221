"""The contract of every executor, tested on the fake and the real ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared import errors
from shared.executors import types
from shared.models.task import Place
from tests.support import waiting
from tests.support.harness import rigs

KINDS = ["fake", "simulated", "process", pytest.param("docker", marks=pytest.mark.docker)]
#: Executors that run commands; the others only interpret `sleep`, `exit` and `trap '' TERM`.
REAL_KINDS = KINDS[2:]


@pytest.fixture(params=KINDS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[rigs.Rig]:
    url = request.getfixturevalue("docker_engine").url if request.param == "docker" else "unix:///nowhere"
    async with rigs.rig(request.param, url) as made:
        yield made


@pytest.fixture(params=REAL_KINDS)
async def real_rig(request: pytest.FixtureRequest) -> AsyncIterator[rigs.Rig]:
    url = request.getfixturevalue("docker_engine").url if request.param == "docker" else "unix:///nowhere"
    async with rigs.rig(request.param, url) as made:
        yield made


def kinds(events: list[types.Event], handle: types.Handle) -> list[types.EventKind]:
    return [event.kind for event in events if event.handle == handle]


# --- starting and ending ---------------------------------------------------------


@pytest.mark.parametrize("code", [0, 7])
async def test_a_run_ends_with_the_exit_code_of_its_command(rig: rigs.Rig, code: int) -> None:
    before = time.time()
    run = await rig.start(f"exit {code}")
    seen = await rig.ended(run)
    assert seen.exit_code == code
    assert seen.started_at is not None
    assert before - 1 < seen.started_at <= time.time()
    assert seen.ended_at is None or seen.started_at - 1 < seen.ended_at <= time.time()


async def test_a_start_says_when_and_says_the_same_again(rig: rigs.Rig) -> None:
    run = await rig.run("sleep 30")
    before = time.time()
    first = await rig.executor.start(run)
    second = await rig.executor.start(run)
    assert before - 1 < first <= time.time()
    assert second == pytest.approx(first, abs=1.0)


async def test_a_running_run_is_listed_as_running(rig: rigs.Rig) -> None:
    run = await rig.start("sleep 30")
    [seen] = await rig.executor.list(rig.node)
    assert (seen.handle, seen.state, seen.exit_code) == (run.handle, types.RunState.RUNNING, None)


async def test_ended_runs_stay_listed_with_their_exit_code_until_they_are_removed(rig: rigs.Rig) -> None:
    run = await rig.start("exit 3")
    await rig.ended(run)
    for _ in range(2):
        [seen] = await rig.executor.list(rig.node)
        assert (seen.handle, seen.state, seen.exit_code) == (run.handle, types.RunState.EXITED, 3)
    await rig.executor.remove(run.handle)
    assert list(await rig.executor.list(rig.node)) == []
    assert await rig.executor.inspect(run.handle) is None


async def test_many_starts_of_one_attempt_at_once_are_one_run(rig: rigs.Rig) -> None:
    run = await rig.run("sleep 30")
    other = rig.another()
    await asyncio.gather(*(executor.start(run) for executor in (rig.executor, other) * 3))
    assert [seen.handle for seen in await rig.executor.list(rig.node)] == [run.handle]


async def test_an_attempt_runs_its_command_once_however_often_it_is_started(real_rig: rigs.Rig) -> None:
    run = await real_rig.run("echo started >> witness; sleep 0.2")
    other = real_rig.another()
    await asyncio.gather(*(executor.start(run) for executor in (real_rig.executor, other) * 3))
    await real_rig.ended(run)
    await real_rig.executor.start(run)
    assert real_rig.file(run, "witness").read_text() == "started\n"


async def test_an_attempt_that_was_removed_does_not_run_its_command_again(real_rig: rigs.Rig) -> None:
    run = await real_rig.start("echo started >> witness; exit 4")
    await real_rig.ended(run)
    await real_rig.executor.remove(run.handle)
    await real_rig.executor.start(run)
    await real_rig.ended(run)
    assert real_rig.file(run, "witness").read_text() == "started\n"
    result = await real_rig.tasks.read_result(Place(run.handle.task_id), 1)
    assert result is not None
    assert result.exit_code == 4


async def test_an_attempt_that_has_ended_is_left_as_it_is(rig: rigs.Rig) -> None:
    run = await rig.start("exit 5")
    before = await rig.ended(run)
    await rig.executor.start(run)
    after = await rig.ended(run)
    assert (after.exit_code, after.started_at) == (before.exit_code, before.started_at)


async def test_a_second_attempt_is_a_run_of_its_own(rig: rigs.Rig) -> None:
    first = await rig.start("exit 1")
    await rig.ended(first)
    second = await rig.start("exit 2", task_id=first.handle.task_id, attempt=2)
    assert (await rig.ended(second)).exit_code == 2
    assert (await rig.ended(first)).exit_code == 1


async def test_many_runs_at_once_all_end_with_their_own_code(rig: rigs.Rig) -> None:
    count = 8 if rig.kind == "docker" else 40
    runs = [await rig.run(f"exit {number}") for number in range(count)]
    await asyncio.gather(*(rig.executor.start(run) for run in runs))
    seen = await asyncio.gather(*(rig.ended(run) for run in runs))
    assert [one.exit_code for one in seen] == list(range(count))


async def test_a_run_started_by_one_process_is_seen_and_stopped_by_another(rig: rigs.Rig) -> None:
    run = await rig.start("sleep 30")
    other = rig.another()
    [seen] = await other.list(rig.node)
    assert (seen.handle, seen.state) == (run.handle, types.RunState.RUNNING)
    await other.stop(run.handle, grace=5)
    assert (await rig.ended(run)).exit_code == 143
    await other.remove(run.handle)
    assert await rig.executor.inspect(run.handle) is None


# --- events ----------------------------------------------------------------------


async def test_events_begin_with_a_resync_and_tell_of_start_end_and_removal(rig: rigs.Rig) -> None:
    if rig.kind == "docker":
        await rig.ended(await rig.start("exit 0"))  # the first container of an image may be made twice
    async with rig.watched() as events:
        assert events[0].kind is types.EventKind.RESYNC
        run = await rig.start("exit 9")
        await waiting.until(
            lambda: types.EventKind.EXITED in kinds(events, run.handle), "the end is told of", timeout=5
        )
        await rig.executor.remove(run.handle)
        await waiting.until(
            lambda: types.EventKind.REMOVED in kinds(events, run.handle), "the removal is told of", timeout=5
        )
    assert kinds(events, run.handle) == [types.EventKind.STARTED, types.EventKind.EXITED, types.EventKind.REMOVED]
    [ended] = [event for event in events if event.kind is types.EventKind.EXITED and event.handle == run.handle]
    assert ended.exit_code == 9
    assert ended.at == pytest.approx(time.time(), abs=10)


async def test_the_end_of_a_run_that_began_earlier_is_an_event(rig: rigs.Rig) -> None:
    run = await rig.start("sleep 30")
    async with rig.watched(rig.another()) as events:
        await rig.executor.stop(run.handle, grace=5)
        await waiting.until(lambda: types.EventKind.EXITED in kinds(events, run.handle), "the end is told of")
    [ended] = [event for event in events if event.kind is types.EventKind.EXITED]
    assert ended.exit_code == 143


async def test_two_listen_to_the_same_node(rig: rigs.Rig) -> None:
    async with rig.watched() as first, rig.watched() as second:
        run = await rig.start("exit 0")
        for events in (first, second):
            await waiting.until(
                lambda events=events: types.EventKind.EXITED in kinds(events, run.handle), "the end is told of"
            )


# --- stopping --------------------------------------------------------------------


async def test_a_run_that_hears_sigterm_ends_at_once(rig: rigs.Rig) -> None:
    run = await rig.start("sleep 600")
    async with asyncio.timeout(60):
        await rig.executor.stop(run.handle, grace=300)
    seen = await rig.ended(run)
    assert seen.exit_code == 143


async def test_a_run_that_ignores_sigterm_is_killed_after_its_grace(rig: rigs.Rig) -> None:
    run = await rig.start("trap '' TERM\necho > ready\nsleep 30")
    if rig.kind in ("process", "docker"):
        await rig.written(run, "ready")
    before = time.monotonic()
    await rig.executor.stop(run.handle, grace=1)
    assert 0.9 < time.monotonic() - before < 8
    assert (await rig.ended(run)).exit_code == 137


async def test_a_command_can_tidy_up_on_sigterm(real_rig: rigs.Rig) -> None:
    run = await real_rig.start("trap 'echo tidied > tidied; exit 9' TERM\necho > ready\nwhile :; do sleep 0.05; done")
    await real_rig.written(run, "ready")
    await real_rig.executor.stop(run.handle, grace=10)
    assert (await real_rig.ended(run)).exit_code == 9
    assert real_rig.file(run, "tidied").read_text() == "tidied\n"


async def test_a_stop_takes_the_whole_tree_with_it(real_rig: rigs.Rig) -> None:
    run = await real_rig.start(TREE)
    await real_rig.written(run, "ready")
    await waiting.until(lambda: is_held_open(real_rig.file(run, "pipe")), "a process of the tree lives")
    await real_rig.executor.stop(run.handle, grace=1)
    assert not is_held_open(real_rig.file(run, "pipe"))


async def test_removing_a_run_takes_the_whole_tree_with_it(real_rig: rigs.Rig) -> None:
    run = await real_rig.start(TREE)
    await real_rig.written(run, "ready")
    await waiting.until(lambda: is_held_open(real_rig.file(run, "pipe")), "a process of the tree lives")
    await real_rig.executor.remove(run.handle)
    assert not is_held_open(real_rig.file(run, "pipe"))
    assert await real_rig.executor.inspect(run.handle) is None


async def test_many_stops_at_once_take_no_longer_than_one(rig: rigs.Rig) -> None:
    count = 6 if rig.kind == "docker" else 20
    runs = [await rig.start("trap '' TERM\nsleep 30") for _ in range(count)]
    before = time.monotonic()
    await asyncio.gather(*(rig.executor.stop(run.handle, grace=1) for run in runs))
    assert time.monotonic() - before < 8
    for run in runs:
        assert (await rig.ended(run)).exit_code in (137, 143)


TREE = """\
mkfifo pipe
(trap '' TERM; while :; do sleep 1; done) 9<> pipe &
echo > ready
while :; do sleep 0.1; done
"""


def is_held_open(pipe: Path) -> bool:
    """Return whether any process, in any container, could still write into the pipe."""
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, 1) != b""
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


# --- pausing ---------------------------------------------------------------------


async def test_a_run_is_paused_and_goes_on(rig: rigs.Rig) -> None:
    run = await rig.start("sleep 30")
    for _ in range(2):
        await rig.executor.pause(run.handle)
        assert await rig.state(run) is types.RunState.PAUSED
    [seen] = await rig.executor.list(rig.node)
    assert seen.state is types.RunState.PAUSED
    for _ in range(2):
        await rig.executor.resume(run.handle)
        assert await rig.state(run) is types.RunState.RUNNING


async def test_a_paused_run_can_be_stopped(rig: rigs.Rig) -> None:
    run = await rig.start("sleep 30")
    await rig.executor.pause(run.handle)
    await rig.executor.stop(run.handle, grace=5)
    assert (await rig.ended(run)).exit_code in (137, 143)


async def test_a_paused_run_can_be_removed(rig: rigs.Rig) -> None:
    run = await rig.start("sleep 30")
    await rig.executor.pause(run.handle)
    await rig.executor.remove(run.handle)
    assert await rig.executor.inspect(run.handle) is None


# --- missing runs -----------------------------------------------------------


async def test_nothing_is_wrong_with_a_run_that_does_not_exist(rig: rigs.Rig) -> None:
    handle = types.Handle(rig.node, 1, 1)
    assert await rig.executor.inspect(handle) is None
    assert await rig.executor.stats(handle) is None
    await rig.executor.stop(handle, grace=5)
    await rig.executor.pause(handle)
    await rig.executor.resume(handle)
    await rig.executor.remove(handle)
    assert list(await rig.executor.list(rig.node)) == []


async def test_nothing_is_wrong_with_a_run_that_has_ended(rig: rigs.Rig) -> None:
    run = await rig.start("exit 6")
    await rig.ended(run)
    await rig.executor.stop(run.handle, grace=5)
    await rig.executor.pause(run.handle)
    await rig.executor.resume(run.handle)
    assert await rig.executor.stats(run.handle) is None
    assert (await rig.ended(run)).exit_code == 6
    for _ in range(2):
        await rig.executor.remove(run.handle)
    assert await rig.executor.inspect(run.handle) is None


async def test_a_node_that_is_not_configured_does_not_answer(rig: rigs.Rig) -> None:
    run = await rig.run("exit 0")
    lost = replace(run, handle=replace(run.handle, node="elsewhere"))
    with pytest.raises(errors.NodeUnavailable, match="elsewhere"):
        await rig.executor.start(lost)


# --- reports of nodes and runs ----------------------------------------------


async def test_the_nodes_report_their_sizes(rig: rigs.Rig) -> None:
    assert list(rig.executor.node_names()) == [rig.node]
    [report] = await rig.executor.nodes()
    assert (report.name, report.executor) == (rig.node, rig.executor.name)
    assert report.ready
    assert report.cpus > 0
    assert report.memory > 1024**2


async def test_a_live_run_has_stats(rig: rigs.Rig) -> None:
    run = await rig.start("sleep 30")

    async def sampled() -> types.Stats | None:
        # A process that is being created, or is executing another program, has no memory for a moment.
        sample = await rig.executor.stats(run.handle)
        return sample if sample is not None and sample.memory > 0 else None

    sample = await waiting.until(sampled, "the run has memory")
    assert sample.pids >= 1
    assert sample.cpu_percent >= 0
    assert sample.at == pytest.approx(time.time(), abs=5)


async def test_a_busy_run_is_seen_to_be_busy(real_rig: rigs.Rig) -> None:
    run = await real_rig.start("while :; do :; done", cpus=0.5)
    await real_rig.executor.stats(run.handle)

    async def busy() -> bool:
        sample = await real_rig.executor.stats(run.handle)
        return sample is not None and sample.cpu_percent > 10

    await waiting.until(busy, "the run uses a cpu", interval=0.3)


# --- the command's environment ------------------------------------------------------


async def test_output_goes_to_the_files_of_the_task(real_rig: rigs.Rig) -> None:
    run = await real_rig.start("echo out; echo err >&2; exit 0")
    await real_rig.ended(run)
    assert real_rig.file(run, "god.log").read_text() == "out\n"
    assert real_rig.file(run, "god.err").read_text() == "err\n"
    begun, ended = map(int, real_rig.file(run, "god.info").read_text().split())
    assert begun <= ended
    result = await real_rig.tasks.read_result(Place(run.handle.task_id), 1)
    assert result is not None
    assert result.exit_code == 0
    assert result.ended_at is not None


async def test_the_command_runs_as_its_user_in_its_directory(real_rig: rigs.Rig) -> None:
    run = await real_rig.start("id -u; id -g; id -G; pwd; umask; id -u > mine", groups=(rigs.GROUP,))
    await real_rig.ended(run)
    uid, gid, groups, directory, _ = real_rig.file(run, "god.log").read_text().splitlines()
    assert (int(uid), int(gid)) == (rigs.UID, rigs.GID)
    assert rigs.GROUP in map(int, groups.split())
    assert 0 not in map(int, groups.split())
    assert directory == (types.WORKDIR if real_rig.kind == "docker" else run.directory)
    assert real_rig.file(run, "mine").stat().st_uid == rigs.UID


async def test_the_environment_is_the_documented_one(real_rig: rigs.Rig) -> None:
    run = await real_rig.start("env", environment={"GREETING": "a b; $(id)", "LEFT": "right"})
    await real_rig.ended(run)
    lines = real_rig.file(run, "god.log").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    where = types.WORKDIR if real_rig.kind == "docker" else run.directory
    assert found["GODOCKER_JID"] == str(run.handle.task_id)
    assert (found["GODOCKER_PWD"], found["GODOCKER_HOME"], found["HOME"]) == (where, where, where)
    assert (found["GREETING"], found["LEFT"]) == ("a b; $(id)", "right")
    expected = {
        *("GODOCKER_JID", "GODOCKER_PWD", "GODOCKER_HOME", "GODOCKER_RUN", "HOME", "GREETING", "LEFT", "PATH"),
        *("GODOCKER_CPUS", "GODOCKER_MEMORY_MB", "OMP_NUM_THREADS"),
        *("LANG", "PWD", "OLDPWD", "SHLVL", "HOSTNAME", "_"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
    }
    assert set(found) <= expected, "nothing of ours is inherited"


DEVICE = "/dev/null"  #: one that every host has


async def test_a_run_s_devices_and_ports_are_in_its_environment(real_rig: rigs.Rig) -> None:
    assert {types.Feature.GPUS, types.Feature.PORTS} <= real_rig.executor.features()
    first, second = free_port(), free_port()
    ports = (types.PortMapping(80, first), types.PortMapping(8080, second))
    run = await real_rig.start("env", gpus=(DEVICE,), ports=ports, network=types.PUBLIC)
    await real_rig.ended(run)
    lines = set(real_rig.file(run, "god.log").read_text().splitlines())
    assert {
        f"GODOCKER_GPUS={DEVICE}",
        f"GODOCKER_PORTS={first},{second}",
        f"GODOCKER_PORT_80={first}",
        f"GODOCKER_PORT_8080={second}",
    } <= lines


async def test_an_inspection_has_the_devices_and_ports_of_a_run(real_rig: rigs.Rig) -> None:
    ports = (types.PortMapping(8080, free_port()), types.PortMapping(80, free_port()))
    having = await real_rig.start("sleep 30", gpus=(DEVICE,), ports=ports, network=types.PUBLIC)
    lacking = await real_rig.start("sleep 30")
    finder = real_rig.another()
    found, empty = await finder.inspect(having.handle), await finder.inspect(lacking.handle)
    assert found is not None
    assert found.given is not None
    assert empty is not None
    assert (found.given.gpus, set(found.given.ports)) == ((DEVICE,), set(ports))
    assert empty.given == types.Given()


async def test_a_port_that_somebody_listens_at_is_refused_and_nothing_is_left(real_rig: rigs.Rig) -> None:
    with socket.socket() as stranger:
        stranger.bind(("", 0))
        stranger.listen()
        port = int(stranger.getsockname()[1])
        run = await real_rig.run("exit 4", ports=(types.PortMapping(80, port),), network=types.PUBLIC)
        with pytest.raises(errors.PortTaken, match=f"port {port} of {real_rig.node}") as taken:
            await real_rig.executor.start(run)
        assert taken.value.port == port
        assert await real_rig.executor.inspect(run.handle) is None
    await real_rig.executor.start(run)
    assert (await real_rig.ended(run)).exit_code == 4


async def test_a_run_that_listens_at_its_port_is_adopted(real_rig: rigs.Rig) -> None:
    port = free_port()
    run = await real_rig.start("sleep 30", ports=(types.PortMapping(80, port),), network=types.PUBLIC)
    with socket.socket() as listener:
        with contextlib.suppress(OSError):  # an engine listens itself
            listener.bind(("", port))
            listener.listen()
        await real_rig.another().start(run)
    assert await real_rig.state(run) is types.RunState.RUNNING


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


async def test_the_script_may_name_its_interpreter(real_rig: rigs.Rig) -> None:
    run = await real_rig.start("#!/bin/cat\nthis is printed\n")
    await real_rig.ended(run)
    assert real_rig.file(run, "god.log").read_text() == "#!/bin/cat\nthis is printed\n"


@pytest.mark.skipif(not rigs.ROOT, reason="needs root: the command runs as another user")
async def test_output_files_that_were_planted_are_not_written_through(real_rig: rigs.Rig, tmp_path: Path) -> None:
    """Links that an earlier attempt planted may redirect writes of the command's own user, and of nobody else."""
    outside = tmp_path / "outside"
    outside.write_text("untouched\n")
    run = await real_rig.run("echo out; exit 0")
    os.symlink(outside, real_rig.file(run, "god.log"))
    await real_rig.executor.start(run)
    await real_rig.ended(run)
    assert outside.read_text() == "untouched\n"


async def test_a_task_has_no_privileges_to_gain(real_rig: rigs.Rig) -> None:
    run = await real_rig.start("grep -E 'NoNewPrivs|CapEff|CapPrm|CapInh' /proc/self/status; ulimit -c")
    await real_rig.ended(run)
    *status, cores = real_rig.file(run, "god.log").read_text().splitlines()
    found = {name: int(value, 16) for name, value in (line.split(":") for line in status)}
    assert found == {"NoNewPrivs": 1, "CapEff": 0, "CapPrm": 0, "CapInh": 0}
    assert cores == "0"
