"""Metrics of the whole system, as the leading scheduler exports them."""

from __future__ import annotations

from shared import clock
from shared.lifecycle import TaskStatus
from shared.models.notice import Notice
from shared.observe import exposition
from tests.integration.conftest import Scene
from tests.support import expositions, samples, waiting


def shown(sample: str, **labels: str) -> float:
    found = expositions.read(exposition.text("scheduler", leads=True).decode())
    return expositions.value(found, sample, **labels)


async def test_the_leader_counts_pending_tasks_by_reason_running_tasks_and_unsent_mails(scene: Scene) -> None:
    await scene.add(1, cmd="sleep 3600", cpu=2.0)
    await scene.add(2, cpu=1e6)
    await scene.add(3, waiting_on=[2])
    letter = Notice(id="1-1-over", to="alice@example.org", subject="", text="", at=clock.now() - 100)
    await scene.stores.outbox.write([letter])

    def counted() -> bool:
        return (
            shown("godocker_tasks", status="running") == 1
            and shown("godocker_tasks", status="pending") == 2
            and shown("godocker_tasks_pending", reason="never") == 1
            and shown("godocker_tasks_pending", reason="dependency") == 1
            and shown("godocker_oldest_pending_seconds", reason="never") > 0
            and shown("godocker_node_cpus", node=samples.NODE, kind="used") == 2
            and shown("godocker_node_ready", node=samples.NODE) == 1
            and shown("godocker_outbox_mails") == 1
            and shown("godocker_outbox_oldest_seconds") >= 100
        )

    async with scene.running():
        await scene.until(TaskStatus.RUNNING, timeout=30)
        await waiting.until(counted, "everything is counted", timeout=30)


async def test_ends_without_an_event_are_counted_as_missed(scene: Scene) -> None:
    def missed() -> float:
        found = expositions.read(exposition.text("watcher").decode())
        return expositions.value(found, "godocker_missed_events_total")

    before = missed()
    scene.executor.faults.drop_events = True
    await scene.add(1)
    async with scene.running():
        await scene.until(TaskStatus.OVER, timeout=30)
        await waiting.until(lambda: missed() == before + 1, "the end is counted as missed", timeout=30)


async def test_a_leader_that_hangs_beyond_its_lease_loses_it_and_takes_it_again(scene: Scene) -> None:
    def changes(change: str) -> float:
        return shown("godocker_lease_changes_total", change=change)

    taken, lost = changes("taken"), changes("lost")
    async with scene.running(scene.scheduler()):
        await waiting.until(lambda: changes("taken") == taken + 1, "it leads", timeout=30)
        hang(2 * scene.settings.leader_lease_seconds)
        await waiting.until(lambda: changes("taken") == taken + 2, "it leads again", timeout=30)
    assert changes("lost") >= lost + 1


def hang(seconds: float) -> None:
    """Block the event loop of this process."""
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        pass
