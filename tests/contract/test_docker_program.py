"""The wrapper inside containers, run by the shells that images have."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from godocker.docker import local_engine
from shared.executors import types
from shared.models import attempt_files
from shared.models.task import Place
from tests.support import shapes, waiting
from tests.support.harness import rigs, systems

pytestmark = pytest.mark.docker

BUSYBOX, DASH, BASH = "busybox", "dash-sh", "bash-sh"
AT_ONCE = 3  #: containers, so that they get enough of two processors
GRACE = 20.0  #: seconds, far more than a program needs to save


@pytest.fixture(scope="module")
def shells(docker_engine: local_engine.LocalEngine) -> local_engine.LocalEngine:
    """Yield the engine with images that have different shells as /bin/sh."""
    for image, shell in ((DASH, "dash"), (BASH, "bash")):
        docker_engine.import_image(systems.with_shell(shell), name=image)
    return docker_engine


@pytest.fixture
async def rig(shells: local_engine.LocalEngine) -> AsyncIterator[rigs.Rig]:
    async with rigs.rig("docker", shells.url) as made:
        yield made


def of_image(image: str) -> list[shapes.Shape]:
    there = {BUSYBOX: {"sh"}, DASH: {"sh", "bash"}, BASH: {"sh", "bash"}}[image]
    lacking = {"nohup"} if image == BUSYBOX else set()  # Debian's has no such applet
    return [shape for shape in shapes.SHAPES if shape.interpreter in there and shape.name not in lacking]


async def ready(rig: rigs.Rig, run: types.Run) -> None:
    await waiting.until(lambda: rig.file(run, shapes.READY).exists(), "the program hears SIGTERM", timeout=60)


@pytest.mark.parametrize("image", [BUSYBOX, DASH, BASH])
async def test_every_shape_of_script_has_its_own_code(rig: rigs.Rig, image: str) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def code(shape: shapes.Shape) -> tuple[int | None, int | None]:
        async with places:
            run = await rig.start(shape.script, image=image)
            await ready(rig, run)
            rig.file(run, shapes.GO_ON).touch()
            ended = await rig.ended(run)
            result = await rig.tasks.read_result(Place(run.handle.task_id), 1)
            return ended.exit_code, result.exit_code if result else None

    found = await asyncio.gather(*(code(shape) for shape in of_image(image)))
    named = {shape.name: codes for shape, codes in zip(of_image(image), found, strict=True)}
    assert named == {shape.name: (shape.code, shape.code) for shape in of_image(image)}


@pytest.mark.parametrize("image", [BUSYBOX, DASH, BASH])
async def test_every_process_of_every_shape_can_save_its_work_when_stopped(rig: rigs.Rig, image: str) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def left(shape: shapes.Shape) -> set[str]:
        async with places:
            run = await rig.start(shape.script, image=image)
            await ready(rig, run)
            await rig.executor.stop(run.handle, grace=GRACE)
            result = await rig.tasks.read_result(Place(run.handle.task_id), 1)
            assert result is not None
            assert result.told_to_end, shape.name
            return {path.name for path in Path(run.directory).iterdir()} & {"saved", "cleanup"}

    found = await asyncio.gather(*(left(shape) for shape in of_image(image)))
    named = {shape.name: files for shape, files in zip(of_image(image), found, strict=True)}
    assert named == {shape.name: set(shape.left) for shape in of_image(image)}


@pytest.mark.parametrize("image", [BUSYBOX, DASH, BASH])
async def test_no_signal_is_ignored_or_blocked_at_the_start(rig: rigs.Rig, image: str) -> None:
    run = await rig.start("exec grep -E 'Sig(Ign|Blk)' /proc/self/status", image=image)
    await rig.ended(run)
    lines = rig.file(run, "god.log").read_text().splitlines()
    assert [int(line.split()[1], 16) & ~shapes.C_LIBRARY_SIGNALS for line in lines] == [0, 0], lines


async def test_a_script_can_trap_an_interrupt(rig: rigs.Rig) -> None:
    run = await rig.start("trap 'echo heard; exit 3' INT; kill -INT $$; exit 4")
    assert (await rig.ended(run)).exit_code == 3
    assert rig.file(run, "god.log").read_text() == "heard\n"


@pytest.mark.parametrize("image", [BUSYBOX, BASH])
@pytest.mark.parametrize(
    ("script", "code"),
    [("kill 0; sleep 5", 143), ("kill -TERM -1; exit 5", 5), ("trap '' TERM; kill -TERM -1; exit 6", 6)],
)
async def test_a_task_that_signals_all_processes_has_its_own_code(
    rig: rigs.Rig, image: str, script: str, code: int
) -> None:
    for _ in range(shapes.rounds()):
        run = await rig.start(script, image=image)
        assert (await rig.ended(run)).exit_code == code


async def test_sigterm_comes_once(rig: rigs.Rig) -> None:
    run = await rig.start("trap 'echo heard >> heard' TERM; echo > ready; while :; do sleep 0.1; done")
    await ready(rig, run)
    await rig.executor.stop(run.handle, grace=2.0)
    assert rig.file(run, "heard").read_text() == "heard\n"
    assert (await rig.ended(run)).exit_code == 137


async def test_a_stop_is_heard_however_early_it_comes(rig: rigs.Rig) -> None:
    for number in range(shapes.rounds()):
        run = await rig.start("exec sleep 600")
        await asyncio.sleep(number % 10 * 0.003)
        await rig.executor.stop(run.handle, grace=60.0)
        assert (await rig.ended(run)).exit_code in (143, 137)
        seen = await rig.executor.inspect(run.handle)
        assert seen is not None
        assert seen.ended_at is not None
        assert seen.started_at is not None
        assert seen.ended_at - seen.started_at < 30, "it was not waited for until its grace was over"


@pytest.mark.parametrize("tidying", shapes.TIDYINGS)
async def test_whatever_a_task_does_to_its_directory_its_code_is_its_own(rig: rigs.Rig, tidying: str) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def codes(code: int) -> tuple[int | None, int | None]:
        async with places:
            run = await rig.start(f"{tidying}; exit {code}")
            ended = await rig.ended(run)
            result = await rig.tasks.read_result(Place(run.handle.task_id), 1)
            return ended.exit_code, result.exit_code if result else None

    found = await asyncio.gather(*(codes(code) for code in shapes.CODES))
    assert found == [(code, code) for code in shapes.CODES]


@pytest.mark.parametrize("tidying", [*shapes.TIDYINGS[:2], "find . -type f -delete", "rm -rf .[!.]* *"])
async def test_an_attempt_is_taken_once_whatever_the_task_removed(rig: rigs.Rig, tidying: str) -> None:
    with rigs.directory() as outside:
        outside.chmod(0o777)
        mounts = [types.Mount("witness", str(outside), "/witness", read_only=False)]
        run = await rig.start(f"echo once >> /witness/seen; {tidying}; exit 3", mounts=mounts)
        assert (await rig.ended(run)).exit_code == 3
        await rig.executor.remove(run.handle)
        Path(run.directory, "cmd.sh").write_text("echo twice >> /witness/seen")
        # A scheduler that slept since before the start does just that.
        await rig.executor.start(run)
        assert (await rig.ended(run)).exit_code == attempt_files.TAKEN
        assert (outside / "seen").read_text() == "once\n"
        result = await rig.tasks.read_result(Place(run.handle.task_id), 1)
        assert result is not None
        assert result.exit_code == 3


async def test_output_is_appended_by_all_writers(rig: rigs.Rig) -> None:
    run = await rig.start(
        "echo one; echo two >> god.log; echo three; echo four | tee -a god.log > /dev/null; echo five"
    )
    await rig.ended(run)
    assert rig.file(run, "god.log").read_text().split() == ["one", "two", "three", "four", "five"]


async def test_output_of_background_programs_is_complete(rig: rigs.Rig) -> None:
    tee = "#!/bin/bash\nexec > >(tee run.log) 2>&1\nseq 20000\nexit 7\n"
    pack = "#!/bin/bash\nseq 20000 > >(gzip > lines.gz)\nexit 7\n"
    for number in range(shapes.rounds() * 2):
        run = await rig.start(tee if number % 2 else pack, image=BASH)
        assert (await rig.ended(run)).exit_code == 7
        if number % 2:
            texts = [rig.file(run, name).read_text() for name in ("run.log", "god.log")]
        else:
            texts = [gzip.decompress(rig.file(run, "lines.gz").read_bytes()).decode()]
        assert [len(text.split()) for text in texts] == [20000] * len(texts)
        await rig.executor.remove(run.handle)


async def test_remaining_processes_do_not_keep_a_task_forever(rig: rigs.Rig) -> None:
    hurried = rig.another(output_grace=1.0)
    run = await rig.run("sleep 600 & exit 4")
    await hurried.prepare(run)
    await hurried.start(run)
    began = time.monotonic()
    assert (await rig.ended(run)).exit_code == 4
    assert time.monotonic() - began < 15


@contextlib.contextmanager
def mounted(place: Path, size: str) -> Iterator[None]:
    """Mount a separate file system at a directory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", place], check=True, timeout=10)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=False, timeout=10)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Yield a directory with room for 64 KB."""
    with rigs.directory() as place:
        disk = place / "disk"
        disk.mkdir()
        with mounted(disk, "64k"):
            yield disk


async def test_there_is_room_for_the_end_of_a_task_that_fills_the_disk(rig: rigs.Rig, small_disk: Path) -> None:
    mounts = [types.Mount("disk", str(small_disk), "/disk", read_only=False)]
    for code in (0, 3, 137):
        (small_disk / str(code)).mkdir(mode=0o777)
        (small_disk / str(code)).chmod(0o777)
        script = f"cat /dev/zero > /disk/fill.{code}; exit {code}"
        run = await rig.start(script, state=str(small_disk / str(code)), mounts=mounts)
        assert (await rig.ended(run)).exit_code == code
        assert (small_disk / str(code) / "exit.1").read_text().split("\n")[0] == str(code)
        for path in small_disk.glob("fill.*"):
            path.unlink()


async def test_a_command_does_not_begin_without_room_for_its_end(rig: rigs.Rig) -> None:
    run = await rig.run("echo begun > witness")
    state = rig.tasks.state(Place(run.handle.task_id))
    with mounted(state, "4k"):
        (state / "fill").write_bytes(b"\0" * 4096)
        await rig.executor.prepare(run)
        await rig.executor.start(run)
        assert (await rig.ended(run)).exit_code == attempt_files.TAKEN
        result = await rig.tasks.read_result(Place(run.handle.task_id), 1)
        assert result is not None
        assert (result.began, result.exit_code) == (False, None)
        assert not rig.file(run, "witness").exists()
