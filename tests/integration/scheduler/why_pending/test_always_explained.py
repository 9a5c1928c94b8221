"""
For any requests and failures in any order: no task waits without a reason, a task without one is placed, and none waits
for ever. Hypothesis generates the stories, on real stores; with GODOCKER_LONG_TESTS it generates more, and others each
time.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from services.api.answers import explanations
from services.api.wire import task as wire
from services.api.wire.explanation import Explanation
from services.scheduler.arrays import expand as scheduling
from services.scheduler.arrays import open_arrays
from services.scheduler.quota_gate import HOLD
from services.scheduler.why_pending import counts
from services.scheduler.why_pending.refresh import AGE
from shared import errors
from shared.broker.broker import Broker
from shared.executors import types
from shared.lifecycle import ENDED, WAITING, Intent, TaskStatus
from shared.models.node import ALL
from shared.models.pending_reason import PendingReason
from shared.models.task import Task
from shared.models.user import User
from shared.settings import FailurePolicy, Settings
from shared.store.stores import Stores
from tests.conftest import FIGURES
from tests.support import reasons, samples
from tests.support.harness.gateway import Gateway
from tests.support.harness.stepped import Stepped

pytestmark = pytest.mark.stores

T = TypeVar("T")
WAITING_FOR_TURN = wire.WAITING_FOR_TURN

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
EXAMPLES, STEPS = (300, 30) if LONG else (6, 12)
ENDS = 60  #: rounds in which everything has to come to its end once nothing is in its way
PORTS = 3  #: of each node

PENDING, CREATED, RUNNING = TaskStatus.PENDING, TaskStatus.CREATED, TaskStatus.RUNNING

NODES = {
    "n1": samples.report("n1", cpus=4, gb=8, gpus=("0",), labels={"zone": "a"}),
    "n2": samples.report("n2", cpus=8, gb=16, labels={"storage": "ssd"}),
    "n3": samples.report("n3", cpus=2, gb=32, gpus=("0", "1"), labels={"zone": "a", "storage": "hdd"}),
}
USERS = ("alice", "bob")


# --- what a story is made of ---------------------------------------------------------------------------

#: A small one that is content with any node.
PLAIN: dict[str, Any] = {
    "requirements.cpu": 1,
    "requirements.ram": 1,
    "requirements.ports": [],
    "user.project": "default",
}
SPECIAL: list[dict[str, Any]] = [
    *[{"requirements.cpu": cpus} for cpus in (4, 7, 9)],
    *[{"requirements.ram": gb} for gb in (6, 20, 40)],
    *[{"requirements.gpus": gpus} for gpus in (1, 2)],
    *[{"requirements.label": [label]} for label in ("storage==ssd", "zone==a", "zone!=a", "a==b")],
    *[{"requirements.ports": ports} for ports in ([80], [80, 81], [80, 81, 82, 83])],
    *[{"requirements.failure_policy": restarts} for restarts in (1, 3)],
    *[{"requirements.maxlifespan": lifespan} for lifespan in ("30", "1h")],
    {"user.project": "lab"},
    {"status.primary": "created"},
]

wishes = st.builds(
    lambda cpus, special: {
        **PLAIN,
        "requirements.cpu": cpus,
        **{name: value for one in special for name, value in one.items()},
    },
    st.sampled_from([1, 2, 3]),
    st.lists(st.sampled_from(SPECIAL), max_size=2),
)
arrays = st.fixed_dictionaries(
    {"values": st.sampled_from(["1:1", "1:4", "1:9:2"]), "max_concurrent": st.sampled_from([None, 1, 2])}
)
depends = st.dictionaries(
    st.sampled_from(["afterok", "afterany", "afternotok"]),
    st.lists(st.integers(0, 30), min_size=1, max_size=2),
    min_size=1,
    max_size=1,
)
users = st.sampled_from(USERS)
some = st.integers(0, 30)  #: whichever there is
REFUSALS = [
    errors.NodeFull("no room for its temporary storage"),
    errors.PortTaken("port 10000 is taken", port=10000),
    errors.StartRefused("it has no shell"),
]
limits = st.sampled_from([0, 0, 1, 3, 6, 20])


class Story:
    """Steps that change a system, and the invariants checked after each step."""

    def __init__(self, system: Stepped) -> None:
        self.system = system
        self.stores = system.stores
        self.users: dict[str, User] = {}
        self.sent: dict[str, list[int]] = {}
        self.seen: Counter[str] = Counter()

    async def begin(self, policy: str, placement: str) -> None:
        await self.system.begin([NODES["n1"], NODES["n2"]], scheduler_policy=policy, placement=placement)
        self.users = {name: await self.system.gateway.add_user(name) for name in USERS}
        await self.system.gateway.add_project("lab", members=list(USERS))
        self.sent = {name: [] for name in USERS}

    # --- steps

    async def send(self, user: str, wanted: dict[str, Any], array: Any, after: dict[str, list[int]]) -> None:
        known = self.sent[user]
        changes = {**wanted, "requirements.network": None, "container.network": bool(wanted["requirements.ports"])}
        if array is not None:
            changes["requirements.array"] = array
        if known:
            changes["requirements.depends"] = {
                kind: [known[number % len(known)] for number in numbers] for kind, numbers in after.items()
            }
        body = samples.submission(**changes, **{"command.cmd": "sleep 86400"})
        answer = await self.system.gateway.ask("POST", "/task", self.users[user], json=body)
        assert answer.status_code in (200, 409, 503), answer.text
        if answer.status_code == 200:
            first = answer.json()["id"]
            known += range(first, first + (await self.system.gateway.task(first)).numbers)

    async def act(self, user: str, number: int, method: str, action: str) -> None:
        if known := self.sent[user]:
            path = f"/task/{known[number % len(known)]}{action}"
            answer = await self.system.gateway.ask(method, path, self.users[user])
            assert answer.status_code in (200, 409), answer.text

    async def limit_array(self, user: str, number: int, most: str) -> None:
        if known := self.sent[user]:
            body = {"name": "array.max_concurrent", "value": most}
            path = f"/task/{known[number % len(known)]}"
            answer = await self.system.gateway.ask("PUT", path, self.users[user], json=body)
            assert answer.status_code in (200, 409, 422), answer.text

    async def limit(self, whose: str, resource: str, most: int) -> None:
        if whose == "lab":
            await self.stores.projects.change("lab", {f"quota_{resource}": most})
        else:
            await self.stores.users.change(whose, {f"usage.quota_{resource}": most})

    async def maintain(self, name: str, on: bool) -> None:
        await self.stores.maintenance.put(name, on=on, by="admin", at=samples.NOW)

    async def fail(self, node: str, how: str) -> None:
        executor = self.system.executor
        if node not in executor.reports:
            return
        if how == "reboots":
            executor.reboot(node, wiped=True)
            return
        executor.faults.down[node] = "no route to it"
        if how != "is silent":
            await self.system.give_up(node)
        if how == "is removed":
            del executor.reports[node]

    async def mend(self, node: str) -> None:
        self.system.executor.faults.down.pop(node, None)
        self.system.executor.reports[node] = NODES[node]

    async def go_on(self, seconds: float, another_leads: bool) -> None:
        self.system.time.go_on(seconds)
        if another_leads:
            await self.system.lead()

    async def end(self, number: int, code: int) -> None:
        if alive := list(self.system.executor.alive):
            self.system.executor.exit(alive[number % len(alive)], code)

    async def refuse_start(self, number: int, error: errors.StartFailed) -> None:
        """Make the next start of one of the pending tasks fail."""
        if waiting := [task for task in await self.system.tasks() if task.status in WAITING]:
            task = waiting[number % len(waiting)]
            self.system.executor.faults.refuse_start[types.run_name(task.id, task.attempt + 1)] = error

    # --- what has to be true

    async def settle(self) -> None:
        """Check that tasks said to be next are placed, and that afterwards no task waits without a reason."""
        self.system.time.go_on(1.0)
        await self.system.look()
        promised = await self._promised({"next"})
        await self.system.cycle()
        await self._check_kept(promised)
        await self.system.quiet()
        if promised := await self._promised(reasons.PROMISES):
            self.system.time.go_on(HOLD + 0.1)
            await self.system.quiet()
            await self._check_kept(promised)
        if (
            WAITING_FOR_TURN in (await self._shown()).values()
        ):  # a reason that was found before it came may be kept for as long
            self.system.time.go_on(AGE)
            await self.system.quiet()
        await self._check_all()

    async def _promised(self, codes: set[str]) -> dict[int, int]:
        """Return the attempts of pending tasks that have only these reasons."""
        found = {}
        for task in await self.system.tasks():
            if task.status is PENDING and {reason.code for reason in (await self._explained(task)).reasons} <= codes:
                found[task.id] = task.attempt
        return found

    async def _check_kept(self, promised: dict[int, int]) -> None:
        for task in await self.system.tasks():
            if task.id in promised:
                assert (task.status, task.attempt) != (PENDING, promised[task.id]), (
                    f"task {task.id} was to be placed: {await self._describe(task)}"
                )

    async def _check_all(self) -> None:
        tasks = await self.system.tasks()
        room = reasons.Room(self.system, tasks, await self.stores.maintenance.names())
        problems = []
        for task in tasks:
            for waiting in (task, *await self._unmade(task)):
                if waiting.status in WAITING:
                    found = await self._explained(waiting)
                    self.seen.update(reason.code.value for reason in found.reasons)
                    problems += [f"task {waiting.id}: {problem}" for problem in reasons.problems(waiting, found, room)]
        for task_id, reason in (await self._shown()).items():
            if reason in (None, "", WAITING_FOR_TURN):
                problems.append(f"task {task_id} is shown without a reason: {reason}")
        if turns := self._counts()[PendingReason.TURN].tasks:
            problems.append(f"{turns} tasks are counted as those that were not offered yet")
        assert not problems, "\n".join([*problems, *[f"{await self._describe(task)}" for task in tasks]])

    def _counts(self) -> dict[PendingReason, counts.Count]:
        """Return the counts that metrics export."""
        scheduler = self.system.scheduler
        return counts.count(
            scheduler._book,
            scheduler._cluster.snapshot(),
            unplaced=scheduler._cycle.unplaced_shapes,
            placed=scheduler._cluster.children(scheduler._book.limits),
            hold=scheduler._quotas.reason,
            reservation=scheduler._cycle.reservation,
        )

    async def _explained(self, task: Task) -> Explanation:
        return Explanation.model_validate(await explanations.of_task(self.system.gateway.context, task))

    async def _describe(self, task: Task) -> str:
        reasons = [reason.text for reason in (await self._explained(task)).reasons]
        about = task.spec.model_dump(include={"cpu", "ram", "gpus", "labels", "ports"}, exclude_defaults=True)
        return f"{task.id} {task.status} of {task.user.id} in {task.project} {about} {task.intent or ''}: {reasons}"

    async def _unmade(self, task: Task) -> list[Task]:
        if task.array is None or task.status in ENDED or task.array.made >= task.array.count:
            return []
        found = [await self.stores.views.get(task.array.id_of(at)) for at in {task.array.made, task.array.count - 1}]
        return [child for child in found if child is not None]

    async def _shown(self) -> dict[int, str | None]:
        """Return the reason shown with each pending task."""
        waiting = [task for task in await self.system.tasks() if task.status in WAITING]
        reasons_of = await self.system.gateway.context.pending_reasons(waiting)
        return {task.id: wire.reason(task, pending_reason=reasons_of.get(task.id)) for task in waiting}

    # --- the end

    async def clear_away(self) -> None:
        """Remove every obstacle and end what runs: only tasks that can never run are left."""
        for whose in (*USERS, "lab"):
            for resource in ("cpu", "ram"):
                await self.limit(whose, resource, 0)
        for name in (ALL, *NODES):
            await self.maintain(name, on=False)
        for node in NODES:
            await self.mend(node)
        self.system.executor.faults.refuse_start.clear()
        for _ in range(ENDS):
            for task in await self.system.tasks():
                await self._release(task)
            self.system.time.go_on(100.0)
            await self.system.quiet()
            left = [task for task in await self.system.tasks() if task.status not in ENDED]
            if not left or await self._are_hopeless(left):
                break
            for handle in list(self.system.executor.alive):
                self.system.executor.exit(handle, 0)
        else:
            raise AssertionError("\n".join(["it never ends:", *[await self._describe(task) for task in left]]))
        for task in left:
            await self.system.gateway.ask("DELETE", f"/task/{task.id}", self.users[task.user.id])
        await self.system.quiet()
        left = [task for task in await self.system.tasks() if task.status not in ENDED]
        assert not left, "\n".join(["killed, and still running:", *[await self._describe(task) for task in left]])
        assert not self.system.executor.alive

    async def _release(self, task: Task) -> None:
        owner = self.users[task.user.id]
        if task.status is CREATED:
            await self.system.gateway.ask("GET", f"/task/{task.id}/pending", owner)
        elif task.status not in ENDED and (task.remark == "suspended" or task.intent is Intent.SUSPEND):
            await self.system.gateway.ask("GET", f"/task/{task.id}/resume", owner)

    async def _are_hopeless(self, tasks: list[Task]) -> bool:
        """Check that all of them can never run, or wait for such tasks, and that their explanations say so."""
        never = {
            task.id for task in tasks if task.status is PENDING and (await self._explained(task)).verdict == "never"
        }
        parents = {task.member.parent for task in tasks if task.id in never and task.member}
        arrays = {task.id: task.array for task in tasks if task.array}
        hopeless, more = set[int](), never | parents
        while more:
            # What waits for a child that is not made waits for its array to get so far.
            unmade = {
                arrays[i].id_of(at) for i in more & arrays.keys() for at in range(arrays[i].made, arrays[i].count)
            }
            hopeless |= more | unmade
            more = {
                task.id
                for task in tasks
                if task.id not in hopeless
                and (not hopeless.isdisjoint(task.waiting_on) or (task.member and task.member.parent in hopeless))
            }
        return {task.id for task in tasks} <= hopeless


# --- the stories ----------------------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """Generates stories. It blocks, and so runs in a thread beside the event loop of the system."""

    story: Story
    loop: asyncio.AbstractEventLoop
    counts: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self._is_whole = False

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self.loop).result(300)

    def step(self, step: Coroutine[Any, Any, None], rushed: bool = False) -> None:
        """Run a step and check its effects; if `rushed`, check them only after the next step."""

        async def both() -> None:
            await step
            if not rushed:
                await self.story.settle()

        self.counts["steps"] += 1
        self._is_whole = False
        self.run(both())
        self._is_whole = True

    @initialize(
        policy=st.sampled_from(["fifo", "fairshare"]),
        placement=st.sampled_from(["binpack", "spread"]),
        sent=st.lists(st.tuples(users, wishes, st.none() | arrays, depends), min_size=3, max_size=5),
    )
    def begin(self, policy: str, placement: str, sent: Any) -> None:
        self.counts["stories"] += 1
        self.step(self.story.begin(policy, placement), rushed=True)
        for one in sent:
            self.step(self.story.send(*one), rushed=one is not sent[-1])

    @rule(user=users, wanted=wishes, array=st.none() | arrays, rushed=st.booleans())
    def send(self, user: str, wanted: Any, array: Any, rushed: bool) -> None:
        self.step(self.story.send(user, wanted, array, {}), rushed)

    @rule(user=users, wanted=wishes, array=st.none() | arrays, after=depends, rushed=st.booleans())
    def send_one_that_comes_after(self, user: str, wanted: Any, array: Any, after: Any, rushed: bool) -> None:
        self.step(self.story.send(user, wanted, array, after), rushed)

    @rule(number=some, code=st.sampled_from([0, 0, 3]), rushed=st.booleans())
    def end(self, number: int, code: int, rushed: bool) -> None:
        self.step(self.story.end(number, code), rushed)

    @rule(user=users, number=some, action=st.sampled_from(["suspend", "resume", "reschedule", "pending", "kill"]))
    def ask(self, user: str, number: int, action: str) -> None:
        method, path = ("DELETE", "") if action == "kill" else ("GET", f"/{action}")
        self.step(self.story.act(user, number, method, path), rushed=action == "kill")

    @rule(user=users, number=some, most=st.sampled_from(["", "1", "3"]))
    def limit_array(self, user: str, number: int, most: str) -> None:
        self.step(self.story.limit_array(user, number, most))

    @rule(whose=st.sampled_from([*USERS, "lab"]), resource=st.sampled_from(["cpu", "ram"]), most=limits)
    def limit(self, whose: str, resource: str, most: int) -> None:
        self.step(self.story.limit(whose, resource, most))

    @rule(name=st.sampled_from([ALL, *NODES]), on=st.booleans(), rushed=st.booleans())
    def maintain(self, name: str, on: bool, rushed: bool) -> None:
        self.step(self.story.maintain(name, on), rushed)

    @rule(
        node=st.sampled_from([*NODES]),
        how=st.sampled_from(["is silent", "is lost", "is removed", "reboots", "is well"]),
    )
    def change_node(self, node: str, how: str) -> None:
        self.step(self.story.mend(node) if how == "is well" else self.story.fail(node, how))

    @rule(number=some, error=st.sampled_from(REFUSALS))
    def refuse_start(self, number: int, error: errors.StartFailed) -> None:
        self.step(self.story.refuse_start(number, error), rushed=True)

    @rule(seconds=st.sampled_from([1.0, 20.0, 90.0, 700.0]), another_leads=st.booleans())
    def time_goes_on(self, seconds: float, another_leads: bool) -> None:
        self.step(self.story.go_on(seconds, another_leads))

    def teardown(self) -> None:
        try:
            if self._is_whole:
                self.run(self.story.clear_away())
        finally:
            self.run(self.story.system.end())


@pytest.fixture
def settings(settings: Settings) -> Settings:
    policy = FailurePolicy(strategy=3, skip_failed_nodes=True, delay=5.0)
    return settings.model_copy(update={"failure_policy": policy, "port_range": PORTS})


@pytest.fixture
def system(
    settings: Settings, indexed: Stores, hints: Broker, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> Stepped:
    monkeypatch.setattr(open_arrays, "WINDOW_FIRST", 2)
    monkeypatch.setattr(scheduling, "WINDOW_MOST", 2)
    return Stepped(settings, indexed, hints, gateway, monkeypatch)


@pytest.mark.timeout(7200 if LONG else 600)
async def test_nothing_waits_without_a_reason_and_nothing_waits_for_ever(
    system: Stepped, record_property: Callable[[str, object], None]
) -> None:
    loop, figures = asyncio.get_running_loop(), Counter[str]()
    story = Story(system)

    class Counted(Machine):
        pass

    Counted.story, Counted.loop, Counted.counts = story, loop, figures
    looked_for = hypothesis_settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        derandomize=not LONG,
        print_blob=False,
        phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],  # to shrink one takes minutes
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(run_state_machine_as_test, Counted, settings=looked_for)
    record_property(
        FIGURES, f"{figures['stories']} stories, {figures['steps']} steps; reasons: {dict(story.seen.most_common())}"
    )


# --- stories that were found --------------------------------------------------------------------------


async def test_a_task_within_its_quota_does_not_wait_behind_a_larger_one_beyond_it(system: Stepped) -> None:
    story = Story(system)
    await story.begin("fifo", "binpack")
    await story.limit("alice", "cpu", 10)
    await story.send("alice", {**PLAIN, "requirements.cpu": 7}, None, {})
    await story.settle()
    for cpu in (4, 2):  # n1 has room for one of them
        await story.send("alice", {**PLAIN, "requirements.cpu": cpu}, None, {})
    await story.settle()
    assert [task.status for task in await system.tasks()] == [RUNNING, PENDING, RUNNING]
    await story.limit("alice", "cpu", 0)
    await story.clear_away()
    await system.end()
