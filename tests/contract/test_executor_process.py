"""Promises of the process executor alone: runs survive restarts, and a stop ends all of a run and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from shared import errors
from shared.executors import types, wrapper
from shared.executors.process import events, proc, records, tree
from shared.executors.process import executor as process
from shared.executors.process.record import NODE, Record
from shared.rules.exit_codes import EXIT_KILLED
from tests.contract import test_executor_contract as contract
from tests.support import waiting
from tests.support.harness import rigs

as_root = pytest.mark.skipif(not rigs.ROOT, reason="needs root: processes of other users are made")


@pytest.fixture
async def rig() -> AsyncIterator[rigs.Rig]:
    async with rigs.rig("process") as made:
        yield made


@pytest.fixture
def kept(rig: rigs.Rig) -> records.Records:
    return records.Records(rig.config.data_dir / "runs" / NODE)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Yield an unrelated process of the user that tasks run as."""
    identity = {"user": rigs.UID} if rigs.ROOT else {}
    with subprocess.Popen(["sleep", "60"], start_new_session=True, **identity) as process:
        yield process
        process.kill()


@pytest.fixture
def stranger_of_root() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


# --- surviving -------------------------------------------------------------------

STARTER = """
import asyncio, json, sys
from shared import settings
from shared.executors import factory, types

async def main():
    config, run = json.loads(sys.argv[1])
    handle = types.Handle(**run.pop("handle"))
    executor = factory.build(settings.Settings(**config))
    await executor.start(types.Run(handle=handle, **run))
    print("started", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_run_survives_the_process_that_started_it(rig: rigs.Rig) -> None:
    run = await rig.run("echo > ready; while [ ! -e go-on ]; do sleep 0.05; done; exit 3")
    named = {name: str(getattr(rig.config, name)) for name in ("instance", "shared_dir", "data_dir")}
    config = {"executor": "process", **named}
    starter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STARTER, json.dumps([config, asdict(run)])),
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert starter.stdout is not None
    assert await asyncio.wait_for(starter.stdout.readline(), 20) == b"started\n"
    async with rig.watched() as seen:
        await rig.written(run, "ready")
        starter.kill()
        await starter.wait()
        [one] = await rig.executor.list(rig.node)
        assert (one.handle, one.state) == (run.handle, types.RunState.RUNNING)
        await rig.executor.start(run)
        rig.file(run, "go-on").touch()
        await waiting.until(
            lambda: [event.exit_code for event in seen if event.kind is types.EventKind.EXITED] == [3],
            "the end is told of with its code",
        )
    assert (await rig.ended(run)).exit_code == 3


async def test_the_runs_of_a_version_without_marks_belong_to_the_system_whose_directories_they_have(
    rig: rigs.Rig,
) -> None:
    before = process.ProcessExecutor(rig.config, types.Owner("godocker", earlier="godocker"))
    run = await rig.run("echo > ready; while [ ! -e go-on ]; do sleep 0.05; done; exit 7")
    run = replace(run, handle=replace(run.handle, system=None))
    await before.start(run)
    await rig.written(run, "ready")
    elsewhere = rig.config.model_copy(update={"shared_dir": rig.config.shared_dir / "another"})
    ours = process.ProcessExecutor(rig.config, types.Owner("marka", earlier="godocker"))
    copies = process.ProcessExecutor(elsewhere, types.Owner("markb", earlier="godocker"))
    new = process.ProcessExecutor(rig.config, types.Owner("markc"))
    try:
        for stranger in (copies, new):
            assert await stranger.list(rig.node) == []
            await stranger.stop(run.handle, grace=0)
            await stranger.remove(run.handle)
        [seen] = await ours.list(rig.node)
        assert (seen.handle.name, seen.state) == (run.handle.name, types.RunState.RUNNING)
        await ours.start(run)  # the same attempt: it is adopted
        rig.file(run, "go-on").touch()

        async def ended() -> bool:
            found = await ours.inspect(run.handle)
            return found is not None and found.exit_code == 7

        await waiting.until(ended, "its end is seen")
        await ours.remove(run.handle)
        assert await ours.list(rig.node) == []
    finally:
        for executor in (before, ours, copies, new):
            await executor.close()


async def test_after_a_reboot_nothing_that_has_the_same_pid_is_touched(
    rig: rigs.Rig, kept: records.Records, stranger: subprocess.Popen[bytes]
) -> None:
    run = await rig.start("exit 0")
    await rig.ended(run)
    record, seen = kept.read(run.handle.name), proc.read(stranger.pid)
    assert record is not None
    assert seen is not None
    kept.update(replace(record, pid=seen.pid, start=seen.start, boot="another"))
    assert await rig.state(run) is types.RunState.EXITED
    await rig.executor.stop(run.handle, grace=0)
    await rig.executor.remove(run.handle)
    assert stranger.poll() is None


async def test_a_reused_pid_is_not_the_run(
    rig: rigs.Rig, kept: records.Records, stranger: subprocess.Popen[bytes]
) -> None:
    run = await rig.start("exit 0")
    await rig.ended(run)
    record, seen = kept.read(run.handle.name), proc.read(stranger.pid)
    assert record is not None
    assert seen is not None
    kept.update(replace(record, pid=seen.pid, start=seen.start + 1))
    assert await rig.state(run) is types.RunState.EXITED
    await rig.executor.stop(run.handle, grace=0)
    await rig.executor.remove(run.handle)
    assert stranger.poll() is None


# --- ending all of a run, and nothing else ---------------------------------------


async def test_a_daemon_that_forked_twice_dies_with_its_run(rig: rigs.Rig) -> None:
    daemon = "trap '' TERM HUP; echo > ready; while :; do sleep 1; done"
    run = await rig.start(f'mkfifo pipe; (setsid sh -c "{daemon}" 9<> pipe &); while :; do sleep 0.1; done')
    await rig.written(run, "ready")
    await rig.executor.stop(run.handle, grace=1)
    assert not contract.is_held_open(rig.file(run, "pipe"))


async def test_a_process_that_holds_no_output_dies_with_the_command(rig: rigs.Rig) -> None:
    daemon = "echo > ready; while :; do sleep 1; done"
    run = await rig.start(
        f'mkfifo pipe; (setsid sh -c "{daemon}" 9<> pipe < /dev/null > daemon 2>&1 &); while [ ! -e ready ]; do :; done'
    )
    began = time.monotonic()
    await rig.ended(run)
    assert time.monotonic() - began < rig.config.output_grace
    assert not contract.is_held_open(rig.file(run, "pipe"))


async def test_a_fork_bomb_is_ended(rig: rigs.Rig) -> None:
    # Each generation forks the next and exits, so that there is never one to wait for.
    run = await rig.start(
        "mkfifo pipe; f() { sleep 0.01; f & }; exec 9<> pipe; f & f & f & echo > ready; wait; sleep 30"
    )
    await rig.written(run, "ready")
    await rig.executor.stop(run.handle, grace=0.2)
    assert not contract.is_held_open(rig.file(run, "pipe"))


#: Mostly in vfork(2), if its shell uses it: children wait long for their turn on the one processor.
EXECUTES = """\
taskset -cp {cpu} $$ > cpu
for _ in 1 2 3 4; do while :; do :; done & done
echo > ready
while :; do /bin/true; done
"""


async def test_a_run_that_is_about_to_execute_something_is_paused_too(rig: rigs.Rig, kept: records.Records) -> None:
    run = await rig.start(EXECUTES.format(cpu=min(os.sched_getaffinity(0))))
    await rig.written(run, "ready")
    for _ in range(20):
        await rig.executor.pause(run.handle)
        record = kept.read(run.handle.name)
        assert record is not None
        processes = tree.below(proc.snapshot(), record.pid or 0)
        assert [process.state for process in processes] == ["T"] * len(processes)
        assert len(processes) >= 2
        await rig.executor.resume(run.handle)
        await asyncio.sleep(0.05)


async def test_another_run_of_the_same_user_lives_on(rig: rigs.Rig, stranger: subprocess.Popen[bytes]) -> None:
    first, second = await rig.start("sleep 30"), await rig.start("sleep 30")
    await rig.executor.stop(first.handle, grace=0)
    await rig.executor.remove(first.handle)
    assert await rig.state(second) is types.RunState.RUNNING
    assert stranger.poll() is None


async def shim_of(kept: records.Records, run: types.Run) -> Record:
    record = kept.read(run.handle.name)
    assert record is not None
    assert record.pid is not None
    return record


#: Children that try to detach in all ways: another session, no environment, that of another run, two forks.
ESCAPES = """\
mkfifo pipe
exec 9<> pipe
(setsid sh -c 'trap "" TERM HUP; while :; do sleep 1; done' &)
(env -i setsid sh -c 'while :; do sleep 1; done' &)
GODOCKER_RUN=god-9-9 GODOCKER_PWD=/x setsid sh -c 'while :; do sleep 1; done' &
echo > ready
sleep 60
"""


@pytest.mark.parametrize("end", ["shim", "shim and fork server"])
async def test_a_run_whose_shim_is_killed_ends_as_lost_and_nothing_of_it_lives(
    rig: rigs.Rig, kept: records.Records, end: str
) -> None:
    async with rig.watched() as seen:
        run = await rig.start(ESCAPES)
        await rig.written(run, "ready")
        record = await shim_of(kept, run)
        assert record.pid is not None
        if end != "shim":
            os.kill(psutil.Process(record.pid).ppid(), signal.SIGKILL)
        os.kill(record.pid, signal.SIGKILL)
        ended = await rig.ended(run)
        assert (ended.exit_code, ended.lost) == (EXIT_KILLED, True)
        assert ended.reason is not None
        assert "its shim was ended" in ended.reason
        await waiting.until(
            lambda: [event.exit_code for event in seen if event.kind is types.EventKind.EXITED] == [EXIT_KILLED],
            "it is told of",
        )
    if end == "shim":
        await waiting.until(lambda: not contract.is_held_open(rig.file(run, "pipe")), "nothing of it lives")
    await rig.executor.remove(run.handle)
    assert await rig.executor.inspect(run.handle) is None
    again = await rig.start("exit 3")
    assert (await rig.ended(again)).exit_code == 3, "another fork server takes over"
    for left in psutil.process_iter():  # without either, a process that hides its environment belongs to no run
        with contextlib.suppress(psutil.Error):
            if left.cwd() == run.directory:
                left.kill()


async def test_nothing_of_a_run_gets_away(rig: rigs.Rig) -> None:
    for way in ("stop", "remove", "end"):
        run = await rig.start(ESCAPES.replace("sleep 60", "[ ! -e go ] || exit 0") if way == "end" else ESCAPES)
        await rig.written(run, "ready")
        if way == "stop":
            await rig.executor.stop(run.handle, grace=0.2)
        elif way == "remove":
            await rig.executor.remove(run.handle)
        else:
            await rig.ended(run)
        assert not contract.is_held_open(rig.file(run, "pipe")), way


#: Each generation forks the next in a session of its own and exits: none lives longer than a fork takes.
FORK_SETSID = """\
#!/usr/bin/perl
use POSIX;
mkfifo("pipe", 0600);
sysopen(P, "pipe", O_RDWR);
$^F = 10;
open(R, ">", "ready"); print R "\\n"; close(R);
if (fork()) {{ select(undef, undef, undef, {seconds}); exit 0; }}
while (1) {{ exit 0 if fork(); POSIX::setsid(); }}
"""


@pytest.mark.parametrize("way", ["stop", "end"])
async def test_a_loop_of_forks_and_sessions_is_ended(rig: rigs.Rig, way: str) -> None:
    seconds = 60 if way == "stop" else 0.2
    run = await rig.start(FORK_SETSID.format(seconds=seconds))
    await rig.written(run, "ready")
    if way == "stop":
        await rig.executor.stop(run.handle, grace=0.2)
    await rig.ended(run)
    assert not contract.is_held_open(rig.file(run, "pipe"))


async def test_a_task_that_writes_its_exit_file_early_is_still_running(rig: rigs.Rig) -> None:
    run = await rig.start("echo 0 > .godocker/exit.1; echo > ready; sleep 30")
    await rig.written(run, "ready")
    assert await rig.state(run) is types.RunState.RUNNING


# --- the environment of a process -----------------------------------------------------


@pytest.mark.parametrize(("gpus", "visible"), [((), ""), (("1", "GPU-8f3c", "/dev/dri/card0"), "1,GPU-8f3c")])
async def test_a_process_sees_the_gpus_it_was_given(rig: rigs.Rig, gpus: tuple[str, ...], visible: str) -> None:
    run = await rig.start('echo "$CUDA_VISIBLE_DEVICES"', gpus=gpus)
    await rig.ended(run)
    assert rig.file(run, "god.log").read_text() == f"{visible}\n"


@pytest.mark.parametrize(("given", "threads"), [({}, "2"), ({"OMP_NUM_THREADS": "7"}, "7")])
async def test_the_environment_of_a_process_names_its_task_and_resources(
    rig: rigs.Rig, given: dict[str, str], threads: str
) -> None:
    script = 'echo "$USER $LOGNAME $GODOCKER_CPUS $GODOCKER_MEMORY_MB $OMP_NUM_THREADS"'
    run = await rig.start(script, cpus=2.5, memory=3 * 1024**3, login="alice", environment=given)
    await rig.ended(run)
    assert rig.file(run, "god.log").read_text().split() == ["alice", "alice", "2.5", "3072", threads]


async def test_a_process_has_limits(rig: rigs.Rig) -> None:
    rig.executor = rig.another(process_open_files=200, pids_limit=300)
    run = await rig.start("ulimit -c; ulimit -n; ulimit -Hn; ulimit -p")
    await rig.ended(run)
    assert rig.file(run, "god.log").read_text().split() == ["0", "200", "200", "300" if rigs.ROOT else "unlimited"]


@pytest.mark.parametrize(
    ("script", "code", "word"),
    [
        ("#!/no/such/program\n", 127, "has no /no/such/program"),
        ("#!/bin/sh\r\nexit 0\r\n", 127, "followed by a carriage return"),
        ("#!/etc\nexit 0\n", 126, "Permission denied"),
    ],
)
async def test_a_script_that_cannot_be_executed_says_why(rig: rigs.Rig, script: str, code: int, word: str) -> None:
    seen = await rig.ended(await rig.start(script))
    assert seen.exit_code == code
    assert seen.reason is not None
    assert word in seen.reason


@pytest.mark.parametrize(
    ("script", "code", "by_signal", "told"),
    [
        ("exit 137", 137, False, None),
        ("exit 143", 143, False, None),
        ("kill -KILL $$", 137, True, "SIGKILL"),
        ("kill -SEGV $$", 139, True, None),
    ],
)
async def test_a_signal_is_distinguished_from_an_exit_code(
    rig: rigs.Rig, script: str, code: int, by_signal: bool, told: str | None
) -> None:
    seen = await rig.ended(await rig.start(script))
    assert (seen.exit_code, seen.by_signal) == (code, by_signal)
    assert (seen.reason is None) if told is None else (told in (seen.reason or ""))


async def test_a_task_cannot_fake_its_end_and_its_times(rig: rigs.Rig) -> None:
    forging = "echo 0 > .godocker/exit.1; touch -d @1 .godocker .godocker/exit.1 god.info; kill -KILL $$"
    before = time.time()
    seen = await rig.ended(await rig.start(forging))
    assert seen.exit_code == 137
    assert seen.started_at is not None
    assert seen.ended_at is not None
    assert before - 1 < seen.started_at <= seen.ended_at <= time.time()


async def test_a_run_that_somebody_stops_is_shown_as_paused(rig: rigs.Rig, kept: records.Records) -> None:
    run = await rig.start("echo > ready; sleep 60")
    await rig.written(run, "ready")
    command = (await shim_of(kept, run)).command
    assert command is not None
    os.kill(command, signal.SIGSTOP)

    async def is_paused() -> bool:
        return await rig.state(run) is types.RunState.PAUSED

    await waiting.until(is_paused, "it is shown as paused")
    await rig.executor.stop(run.handle, grace=10)
    assert (await rig.ended(run)).exit_code == 143


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=711", "tmpfs", str(tmp_path)], check=True, timeout=10)
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True, timeout=10)


@as_root
@pytest.mark.parametrize(
    ("code", "reason"), [(0, None), (3, "it ended with 3, and the disk of its directory was full")]
)
async def test_a_command_that_fills_the_disk_ends_with_its_own_code(
    small_disk: Path, code: int, reason: str | None
) -> None:
    (small_disk / "shared").mkdir(mode=0o711)
    rig = rigs.Rig("process", small_disk)
    waits = await rig.run("exit 5")
    run = await rig.start(f"cat /dev/zero > filler 2> /dev/null; exit {code}")
    seen = await rig.ended(run)
    assert (seen.exit_code, seen.reason) == (code, reason)
    with pytest.raises(errors.NodeUnwell, match="disk full"):
        await rig.executor.start(waits)
    assert await rig.executor.inspect(waits.handle) is None
    rig.file(run, "filler").unlink()
    await rig.executor.start(waits)
    assert (await rig.ended(waits)).exit_code == 5
    await rig.close()


def start_as_an_earlier_version(kept: records.Records, run: types.Run, *, with_pid: bool = True) -> Record:
    """Start a run with a wrapper in a shell, recorded by its starter."""
    identity = {"user": run.uid, "group": run.gid, "extra_groups": []} if rigs.ROOT else {}
    made = subprocess.Popen(
        wrapper.argv(run),
        cwd=run.directory,
        env={"PATH": "/usr/bin:/bin", **wrapper.environment(run, workdir=run.directory, home=None)},
        start_new_session=True,
        **identity,  # type: ignore[arg-type]
    )
    seen = proc.read(made.pid)
    assert seen is not None
    made.returncode = 0  # nobody waits for it, as nobody does after an upgrade
    record = Record(
        run.handle.task_id, run.handle.attempt, run.uid, run.directory, proc.boot_id(), time.time(),
        pid=made.pid if with_pid else None, start=seen.start if with_pid else None, system=run.handle.system,
    )  # fmt: skip
    kept.prepare()
    kept.update(record)
    return record


@pytest.mark.parametrize("with_pid", [True, False])
@pytest.mark.parametrize("way", ["end", "stop", "pause", "remove"])
async def test_a_run_of_an_earlier_version_is_followed_to_its_end(
    rig: rigs.Rig, kept: records.Records, way: str, with_pid: bool
) -> None:
    run = await rig.run("mkfifo pipe; exec 9<> pipe; echo > ready; while [ ! -e go ]; do sleep 0.05; done; exit 4")
    start_as_an_earlier_version(kept, run, with_pid=with_pid)
    await rig.written(run, "ready")
    assert await rig.state(run) is types.RunState.RUNNING
    await rig.executor.start(run)
    if way == "pause":
        await rig.executor.pause(run.handle)
        assert await rig.state(run) is types.RunState.PAUSED
        await rig.executor.resume(run.handle)
    if way in ("end", "pause"):
        rig.file(run, "go").touch()
        assert (await rig.ended(run)).exit_code == 4
    elif way == "stop":
        await rig.executor.stop(run.handle, grace=10)
        assert (await rig.ended(run)).exit_code == 143
    await rig.executor.remove(run.handle)
    assert not contract.is_held_open(rig.file(run, "pipe"))
    assert await rig.executor.inspect(run.handle) is None


async def test_an_intent_of_an_earlier_version_is_started(rig: rigs.Rig, kept: records.Records) -> None:
    run = await rig.run("exit 4")
    kept.prepare()
    kept.update(Record(run.handle.task_id, 1, run.uid, run.directory, proc.boot_id(), 1.0, system=run.handle.system))
    assert await rig.state(run) is types.RunState.CREATED
    await rig.executor.start(run)
    assert (await rig.ended(run)).exit_code == 4


async def test_the_machine_has_the_gpus_of_the_configuration(rig: rigs.Rig) -> None:
    [report] = await rig.another(process_gpus=["0", "1"]).nodes()
    assert report.gpus == ("0", "1")


async def test_nothing_of_ours_is_inherited(rig: rigs.Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODOCKER_SECRET_PASSPHRASE", "must not get out")
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        run = await rig.start("ls /proc/$$/fd; echo --; cat /proc/$$/environ; cat /proc/$PPID/environ")
        await rig.ended(run)
    finally:
        os.close(reading)
        os.close(writing)
    output = rig.file(run, "god.log").read_text()
    # 10 is where dash keeps the script it reads.
    assert set(output.split("--")[0].split()) <= {"0", "1", "2", "10", "255"}
    assert "must not get out" not in output


async def test_the_home_volume_is_in_the_environment_and_others_are_refused(rig: rigs.Rig, tmp_path: Path) -> None:
    home = types.Mount("home", str(tmp_path), types.HOME, read_only=False)
    run = await rig.start('echo "$GODOCKER_HOME $HOME"', mounts=[home])
    await rig.ended(run)
    assert rig.file(run, "god.log").read_text() == f"{tmp_path} {tmp_path}\n"
    refused = await rig.run("exit 0", mounts=[home, types.Mount("db", str(tmp_path), "/db", read_only=True)])
    with pytest.raises(errors.StartRefused, match="db"):
        await rig.executor.start(refused)
    assert await rig.executor.inspect(refused.handle) is None
    assert types.Feature.VOLUMES not in rig.executor.features()


@pytest.mark.parametrize("fields", [{"root": True}, {"uid": 0, "gid": 0}])
@as_root
async def test_nothing_is_run_as_root(rig: rigs.Rig, fields: dict[str, int]) -> None:
    run = await rig.run("exit 0", **fields)
    with pytest.raises(errors.StartRefused, match="root"):
        await rig.executor.start(run)
    assert await rig.executor.inspect(run.handle) is None


@pytest.mark.parametrize("environment", [{"A": "nul\0"}, {"A=B": "c"}])
async def test_a_start_that_the_system_refuses_leaves_nothing(
    rig: rigs.Rig, kept: records.Records, environment: dict[str, str]
) -> None:
    run = await rig.run("exit 0", environment=environment)
    with pytest.raises(errors.StartRefused):
        await rig.executor.start(run)
    assert list(kept.names()) == []


# --- cleaning up ---------------------------------------------------------------


async def test_no_zombies_are_left(rig: rigs.Rig) -> None:
    def zombies() -> set[int]:
        return {child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE}

    before = zombies()  # of other tests in this process
    finished = [await rig.start("exit 0") for _ in range(10)]
    for run in finished:
        await rig.ended(run)
    await waiting.until(lambda: zombies() <= before, "no child is one")


async def test_the_records_are_ours_alone_and_go_with_the_runs(rig: rigs.Rig, kept: records.Records) -> None:
    run = await rig.start("exit 0")
    await rig.ended(run)
    assert kept.directory.stat().st_mode & 0o777 == 0o700
    assert list(kept.names()) == [run.handle.name]
    await rig.executor.remove(run.handle)
    assert [path.name for path in kept.directory.rglob("*")] == ["new"]


async def test_events_come_even_without_notifications_of_the_kernel(
    rig: rigs.Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("too many watches")

    monkeypatch.setattr("shared.executors.watching.DirectoryWatcher.listen", refuse)
    async with rig.watched() as seen:
        run = await rig.start("exit 5")
        await waiting.until(
            lambda: [event.exit_code for event in seen if event.kind is types.EventKind.EXITED] == [5],
            "the end is told of",
            timeout=10 * events.LOOK_OFTEN + 2,
        )
        await rig.executor.remove(run.handle)
        await waiting.until(lambda: seen[-1].kind is types.EventKind.REMOVED, "the removal is told of")


async def test_one_directory_that_is_gone_hides_no_other_run(rig: rigs.Rig) -> None:
    first, second = await rig.start("exit 0"), await rig.start("exit 4")
    await rig.ended(first)
    await rig.ended(second)
    for path in sorted(Path(first.directory).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path(first.directory).rmdir()
    codes = {one.handle: one.exit_code for one in await rig.executor.list(rig.node)}
    assert codes == {first.handle: 0, second.handle: 4}


async def test_runs_of_another_system_are_left_alone_though_they_have_the_same_names(rig: rigs.Rig) -> None:
    async with rigs.rig("process") as other:
        ours, theirs = [await one.start("sleep 60", task_id=7) for one in (rig, other)]
        await rig.executor.pause(ours.handle)
        assert await other.state(theirs) is types.RunState.RUNNING
        await rig.executor.remove(ours.handle)
        assert await other.state(theirs) is types.RunState.RUNNING
