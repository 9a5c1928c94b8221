"""Simulated runs, and watching directories."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import errors, settings
from shared.executors import factory, simulated_runs, types, watching
from shared.executors.docker import executor as docker
from tests.support import waiting

HANDLE = types.Handle("n1", 1, 1)
times = st.floats(min_value=0, max_value=1e11, allow_nan=False)


@given(times, times, st.integers(0, 255), st.booleans(), st.none() | times)
def test_a_run_is_read_as_it_was_written(start: float, end: float, code: int, deaf: bool, paused: float | None) -> None:
    run = simulated_runs.Simulated(start, end, code, deaf, paused)
    assert simulated_runs.Simulated.from_text(run.to_text()) == run


def test_a_pause_puts_off_the_end() -> None:
    run = simulated_runs.Simulated(started_at=0, ends_at=10, exit_code=0)
    paused = run.paused(4)
    assert paused.observation(HANDLE, 100).state is types.RunState.PAUSED
    resumed = paused.paused(50).resumed(104)
    assert resumed.ends_at == 110
    assert resumed.observation(HANDLE, 109).state is types.RunState.RUNNING
    assert resumed.observation(HANDLE, 110).exit_code == 0


@pytest.mark.parametrize(("deaf", "code"), [(False, 143), (True, 137)])
def test_a_stopped_run_ends_then_and_there(deaf: bool, code: int) -> None:
    stopped = simulated_runs.Simulated(0, 10, 0, deaf).stopped(5)
    assert (stopped.ends_at, stopped.exit_code) == (5, code)
    assert stopped.stopped(6) == stopped


def test_a_run_is_added_once_and_junk_is_not_one(tmp_path: Path) -> None:
    runs = simulated_runs.Runs(tmp_path / "n1")
    run = simulated_runs.Simulated(1, 2, 3)
    assert runs.add("god-1-1", run)
    assert not runs.add("god-1-1", simulated_runs.Simulated(7, 8, 9))
    assert runs.read("god-1-1") == run
    (runs.directory / "god-2-1").write_text("not a link")
    (runs.directory / "god-3-1").symlink_to("junk")
    assert runs.read("god-2-1") is None
    assert runs.read("god-3-1") is None
    runs.remove("god-1-1")
    runs.remove("god-1-1")
    assert runs.read("god-1-1") is None


async def test_the_sizes_of_nodes_are_the_configured_ones_or_generous(tmp_path: Path) -> None:
    nodes = [settings.Node(name="small", cpus=2, memory=4, labels={"a": "b"}, gpus=["0"]), settings.Node(name="big")]
    executor = factory.build(settings.Settings(executor="simulated", data_dir=tmp_path, nodes=nodes))
    small, big = await executor.nodes()
    assert (small.cpus, small.memory, dict(small.labels)) == (2, 4 * 1024**3, {"a": "b"})
    assert (small.gpus, big.gpus) == (("0",), ())
    assert big.cpus >= 1000
    await executor.close()


async def test_a_run_ends_when_its_time_has_come(tmp_path: Path) -> None:
    executor = factory.build(
        settings.Settings(executor="simulated", data_dir=tmp_path, nodes=[settings.Node(name="n1")])
    )
    (tmp_path / "cmd.sh").write_text("sleep 0.2\nexit 6")
    stream = executor.events("n1")
    kinds = [await anext(stream)]
    started_at = await executor.start(types.Run(HANDLE, "", 1, 1, (), 1, 1, str(tmp_path), False))
    kinds += [await anext(stream), await anext(stream)]
    assert [event.kind for event in kinds] == [types.EventKind.RESYNC, types.EventKind.STARTED, types.EventKind.EXITED]
    assert (kinds[2].exit_code, kinds[2].at) == (6, pytest.approx(started_at + 0.2))
    await stream.aclose()  # type: ignore[attr-defined]
    await executor.close()


async def test_changes_of_many_directories_come_from_one_watcher(tmp_path: Path) -> None:
    watcher = watching.DirectoryWatcher()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    seen: list[tuple[str, str | None]] = []
    with watcher.listen(first, lambda name: seen.append(("first", name))):
        with watcher.listen(second, lambda name: seen.append(("second", name))):
            (first / "a").touch()
            (second / "b").touch()
            (second / "b").rename(first / "c")
            (first / "a").unlink()
            expected = {("first", "a"), ("second", "b"), ("first", "c")}
            await waiting.until(lambda: expected <= set(seen) and seen.count(("first", "a")) == 2, "all are told of")
        (second / "unheard").touch()
        (first / "last").touch()
        await waiting.until(lambda: ("first", "last") in seen, "the last is told of")
    assert ("second", "unheard") not in seen
    with pytest.raises(OSError, match="cannot watch"), watcher.listen(tmp_path / "missing", lambda _: None):
        pass
    watcher.close()
    watcher.close()


async def test_the_settings_name_the_executor(tmp_path: Path) -> None:
    for kind in ("docker", "process", "simulated"):
        made = factory.build(settings.Settings(executor=kind, data_dir=tmp_path))
        assert made.name == kind
        assert list(made.node_names()) == ["localhost"]
        await made.close()


def test_certificates_that_cannot_be_read_are_a_matter_of_the_configuration(tmp_path: Path) -> None:
    node = settings.Node(name="n1", url="tcp://127.0.0.1:1", tls_ca=tmp_path / "missing.pem")
    with pytest.raises(errors.ConfigurationError, match="n1"):
        docker.DockerExecutor(settings.Settings(nodes=[node]))


async def test_closing_twice_is_fine(tmp_path: Path) -> None:
    executor = factory.build(settings.Settings(executor="simulated", data_dir=tmp_path))
    task = asyncio.ensure_future(anext(executor.events("localhost")))
    await task
    await executor.close()
    await executor.close()
