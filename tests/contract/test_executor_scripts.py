"""Scripts of every shape and end. `GODOCKER_LONG_TESTS` tries each race a hundred times."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest

from shared.executors import types
from tests.support import shapes
from tests.support.harness import rigs

#: The interpreters that a task finds, by executor: on this machine, and in the image.
INTERPRETERS = {
    "process": frozenset(filter(shutil.which, ("sh", "bash", "python3"))),
    "docker": frozenset({"sh"}),
}
#: Containers are slow: they run only the shapes and codes that differ most.
IN_CONTAINERS = ("last line", "exec", "pipe", "own session", "trap of sh", 0, 3, 137)
MARKS = {"process": (), "docker": (pytest.mark.docker,)}
KINDS = [pytest.param(kind, marks=marks) for kind, marks in MARKS.items()]
ALL = [
    pytest.param(kind, shape, id=f"{kind}-{shape.name}", marks=marks)
    for kind, marks in MARKS.items()
    for shape in shapes.SHAPES
    if shape.interpreter in INTERPRETERS[kind] and (kind == "process" or shape.name in IN_CONTAINERS)
]
CODES = [
    pytest.param(kind, code, marks=marks)
    for kind, marks in MARKS.items()
    for code in shapes.CODES
    if kind == "process" or code in IN_CONTAINERS
]


@pytest.fixture
async def rig(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[rigs.Rig]:
    url = request.getfixturevalue("docker_engine").url if kind == "docker" else "unix:///nowhere"
    async with rigs.rig(kind, url) as made:
        yield made


def lines(rig: rigs.Rig, run: types.Run, name: str = "god.log") -> list[str]:
    return rig.file(run, name).read_text().splitlines()


def output(command: str, run: types.Run) -> str:
    return subprocess.run(
        ["sh", "-c", command], cwd=run.directory, capture_output=True, text=True, check=True, timeout=30
    ).stdout


# --- ways of ending --------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
@pytest.mark.parametrize(("kind", "shape"), ALL)
async def test_a_stopped_command_saves_its_work_in_every_shape(
    rig: rigs.Rig, shape: shapes.Shape, paused: bool
) -> None:
    for _ in range(max(1, shapes.rounds() // 5)):
        run = await rig.start(shape.script)
        await rig.written(run, shapes.READY)
        if paused:
            await rig.executor.pause(run.handle)
        await rig.executor.stop(run.handle, grace=20)
        await rig.ended(run)
        left = {name for name in ("saved", "cleanup") if rig.file(run, name).exists()}
        assert left == shape.left
        await rig.executor.remove(run.handle)


@pytest.mark.parametrize(("kind", "shape"), ALL)
async def test_a_command_that_ends_by_itself_has_its_own_code_in_every_shape(
    rig: rigs.Rig, shape: shapes.Shape
) -> None:
    run = await rig.start(shape.script)
    await rig.written(run, shapes.READY)
    rig.file(run, shapes.GO_ON).touch()
    assert (await rig.ended(run)).exit_code == shape.code


@pytest.mark.parametrize("kind", KINDS)
async def test_each_process_gets_sigterm_once_and_cleanup_processes_none(rig: rigs.Rig) -> None:
    told = "echo told >> told; (trap 'echo told >> trapped' TERM; sleep 0.3; echo tidied > tidied); exit 3"
    run = await rig.start(f"trap '{told.replace(chr(39), chr(34))}' TERM; echo > ready; while :; do sleep 0.05; done")
    await rig.written(run, "ready")
    await rig.executor.stop(run.handle, grace=20)
    assert (await rig.ended(run)).exit_code == 3
    assert lines(rig, run, "told") == ["told"]
    assert lines(rig, run, "tidied") == ["tidied"]
    assert not rig.file(run, "trapped").exists()


# --- whatever a task does to its directory ----------------------------------------


@pytest.mark.parametrize(("kind", "code"), CODES)
async def test_a_task_that_tidies_its_directory_ends_with_its_own_code(rig: rigs.Rig, code: int) -> None:
    runs = [await rig.start(f"{tidying}\nexit {code}") for tidying in shapes.TIDYINGS]
    seen = {tidying: await rig.ended(run) for tidying, run in zip(shapes.TIDYINGS, runs, strict=True)}
    assert {tidying: one.exit_code for tidying, one in seen.items()} == dict.fromkeys(shapes.TIDYINGS, code)
    assert not [one.reason for one in seen.values() if one.reason]


@pytest.mark.parametrize("tidying", shapes.TIDYINGS)
@pytest.mark.parametrize("kind", KINDS)
async def test_the_attempt_after_one_that_tidied_runs(rig: rigs.Rig, tidying: str) -> None:
    first = await rig.start(f"{tidying}\nexit 3")
    await rig.ended(first)
    await rig.executor.remove(first.handle)
    second = await rig.start("exit 4", task_id=first.handle.task_id, attempt=2)
    assert (await rig.ended(second)).exit_code == 4


# --- output ------------------------------------------------------------------------

#: Everything that is written arrives, and in order, where it is written by names, by descriptors or by both.
WRITING = {
    "echo one; echo two >> god.log; echo three": ["one", "two", "three"],
    "echo one; echo two | tee -a god.log; echo three": ["one", "two", "two", "three"],
    "echo one; echo two >> /dev/stdout; echo three": ["one", "two", "three"],
    "echo one > /dev/stdout; echo two": ["one", "two"],
    "echo one; sh -c 'echo two'; (echo three)": ["one", "two", "three"],
    "for n in 1 2 3; do echo $n; done; cat < /dev/null": ["1", "2", "3"],
}


@pytest.mark.parametrize("script", WRITING)
@pytest.mark.parametrize("kind", KINDS)
async def test_all_that_is_written_is_there_in_order(rig: rigs.Rig, script: str) -> None:
    run = await rig.start(script)
    await rig.ended(run)
    assert lines(rig, run) == WRITING[script]


#: 20,000 lines through programs that outlive the command.
FILTERED = {
    "tee": ("exec > >(tee run.log) 2>&1", "cat run.log", True),
    "gzip": ("exec > >(gzip > run.gz)", "gzip -dc run.gz", False),
    "gzip, with nothing of the output": ("exec > >(gzip > run.gz 2> /dev/null) 2> /dev/null", "gzip -dc run.gz", False),
    "slow": ("exec > >(sleep 0.3; cat > run.log)", "cat run.log", False),
}


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize("name", FILTERED)
@pytest.mark.parametrize("kind", ["process"])  # the image has no bash
async def test_a_process_that_holds_the_output_is_waited_for(rig: rigs.Rig, name: str) -> None:
    redirection, read, logged = FILTERED[name]
    for _ in range(shapes.rounds()):
        run = await rig.start(f"#!/bin/bash\n{redirection}\nseq 20000\nexit 7\n")
        assert (await rig.ended(run)).exit_code == 7
        assert output(read, run).split() == [str(number) for number in range(1, 20001)]
        if logged:
            assert lines(rig, run)[-1] == "20000"
        await rig.executor.remove(run.handle)


@pytest.mark.parametrize("kind", ["process"])  # engines report the end of the container, which is that of the daemon
async def test_a_daemon_that_holds_the_output_delays_the_end_for_a_bounded_time(rig: rigs.Rig) -> None:
    rig.executor = rig.another(output_grace=0.5)
    run = await rig.start("sleep 600 & exit 5")
    seen = await rig.ended(run)
    assert seen.exit_code == 5
    assert seen.started_at is not None
    assert seen.ended_at is not None
    assert seen.ended_at - seen.started_at < 0.5, "it ended when its command did"


@pytest.mark.parametrize("kind", KINDS)
async def test_the_output_of_an_earlier_attempt_stays_its_own(rig: rigs.Rig) -> None:
    first = await rig.start("echo first; exit 1")
    await rig.ended(first)
    await rig.executor.remove(first.handle)
    second = await rig.start("echo second", task_id=first.handle.task_id, attempt=2)
    await rig.ended(second)
    assert (lines(rig, second), lines(rig, second, "god.log.1")) == (["second"], ["first"])


# --- the command's environment ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_no_signal_is_ignored_or_blocked(rig: rigs.Rig) -> None:
    run = await rig.start("exec grep -E '^Sig(Ign|Blk|Pnd)' /proc/self/status")
    await rig.ended(run)
    assert {int(line.split()[1], 16) & ~shapes.C_LIBRARY_SIGNALS for line in lines(rig, run)} == {0}


@pytest.mark.parametrize("number", ["INT", "QUIT", "HUP", "USR1", "TERM"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_script_can_trap_every_signal(rig: rigs.Rig, number: str) -> None:
    run = await rig.start(f"trap 'echo trapped; exit 6' {number}; kill -{number} $$; sleep 5")
    assert (await rig.ended(run)).exit_code == 6
    assert lines(rig, run) == ["trapped"]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_umask_is_that_of_most_systems_and_the_directory_is_closed(rig: rigs.Rig) -> None:
    run = await rig.start("umask; touch file; mkdir folder; stat -c %a file folder . god.log")
    await rig.ended(run)
    umask, *modes = lines(rig, run)
    assert (umask, modes[:3]) == ("0022", ["644", "755", "700"])
