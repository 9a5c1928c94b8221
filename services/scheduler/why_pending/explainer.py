"""Gather what a task's waiting depends on, and explain it to whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from services.scheduler import quota_gate
from services.scheduler.cluster import Cluster
from services.scheduler.cycle import Cycle
from services.scheduler.owners import Owners
from services.scheduler.policies.base import Policy
from services.scheduler.policies.position import position
from services.scheduler.policies.usage_cache import Shares
from services.scheduler.queue.book import Book
from services.scheduler.quota_gate import QuotaGate
from services.scheduler.why_pending import explanation
from services.scheduler.why_pending.explanation import Situation
from services.scheduler.why_pending.node_verdicts import Explainer, Outcome
from shared import clock, errors
from shared.lifecycle import ACTIVE, Remark
from shared.models.quota import Excess, excesses
from shared.models.task import Task
from shared.models.work import Pending
from shared.rules import arrays
from shared.settings import Settings
from shared.store.quotas import scopes_of
from shared.store.stores import Stores

JUDGED = 500  #: shapes that are looked at for one question


class Situations:
    """What the leader knows, put together for one task at a time. See `questions.Answers`."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        book: Book,
        cluster: Cluster,
        cycle: Cycle,
        policy: Policy,
        shares: Shares,
        gate: QuotaGate,
        owners: Owners,
        leads: Callable[[], bool],
    ) -> None:
        """`leads`: whether this scheduler does, and has filled its book; another one knows nothing."""
        self._policy_name = settings.scheduler_policy
        self._stores = stores
        self._book = book
        self._cluster = cluster
        self._cycle = cycle
        self._policy = policy
        self._shares = shares
        self._gate = gate
        self._owners = owners
        self._leads = leads

    async def explain(self, task_id: int) -> dict[str, Any] | None:
        """
        Why the task waits, as it is stored now; None where it does not wait. Raises `errors.SchedulerUnavailable` and
        `errors.StoreUnavailable`.
        """
        self._check()
        found = await self._stores.work.pending_of([task_id])
        return explanation.explain(found[0], await self._of(found[0])) if found else None

    async def explain_unsent(self, values: dict[str, Any]) -> dict[str, Any]:
        """Why a task of these values (names of `Pending`) would wait. Raises KeyError and TypeError where it is not one."""
        self._check()
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        known = {field.name for field in fields(Pending)}
        task = Pending(**{name: value for name, value in values.items() if name in known} | {"array": None})
        return explanation.explain(task, await self._of(task))

    def _check(self) -> None:
        if not self._leads():
            raise errors.SchedulerUnavailable("another scheduler leads")

    async def _of(self, task: Pending) -> Situation:
        now = clock.now()
        view = self._shares.view(now)
        await self._owners.look([(task.user, task.project)])
        array = task.id if task.array is not None else task.parent
        limit = self._book.limits.get(array) if array is not None else None
        placed = self._cluster.children([array]) if array is not None and limit is not None else {}
        return Situation(
            now=now,
            looked_at=self._cluster.observed_at or now,
            nodes=self._cluster.snapshot(),
            policy=self._policy_name,
            # One that is not sent yet would be the last of them.
            offered=sum(map(len, self._book.lanes.values())) + (not task.id),
            before=self._before(task),
            # Of fifo it would be the age, and says nothing that the position does not.
            score=self._policy.score(task, view) if self._policy_name != "fifo" else None,
            hold=self._owners.why(task),
            in_maintenance=self._cluster.is_in_maintenance,
            predecessors=await self._predecessors(task),
            # What was found to be full a moment ago is not offered yet, whatever has ended or was changed since.
            excesses=await self._excesses(task) or self._gate.excesses_of(task),
            array_limit=(limit, placed.get(array, 0)) if limit and array is not None else None,
            array_suspended=limit == 0,  # no array is limited to nothing otherwise
            reservation=self._cycle.reservation,
        )

    def _before(self, task: Pending) -> int | None:
        """How many tasks are offered before it; None for one that is not offered itself."""
        lanes, view = self._book.lanes, self._shares.view(clock.now())
        if task.id and self._book.get(task.id) is None:
            return None
        may_run = self._may_run()
        if task.id:
            return position(self._policy, task.id, lanes, view, may_run=may_run)
        return sum(len(lane) for lane in lanes.values() if may_run(lane[0]))

    def _may_run(self) -> Callable[[Pending], bool]:
        """Whether others wait behind a task: not behind one that no node could ever take, or whose owner is shut out."""
        explainer = Explainer(self._cluster.snapshot())
        never: dict[str, bool] = {}

        def may_run(task: Pending) -> bool:
            if task.shape not in never and len(never) < JUDGED:
                never[task.shape] = explainer.outcome(task) is Outcome.NEVER
            return not never.get(task.shape, False) and not self._owners.is_held(task)

        return may_run

    async def _predecessors(self, task: Pending) -> dict[int, str]:
        if not task.waiting_on:
            return {}
        return {found.id: _where(found) for found in await self._stores.work.whole(task.waiting_on)}

    async def _excesses(self, task: Pending) -> list[Excess]:
        limits = await self._stores.quotas.limits(scopes_of(task.user, task.project))
        if not limits:
            return []
        taken = await self._stores.quotas.taken(limits)
        need = quota_gate.need_of(task)
        return [excess for scope, quota in limits.items() for excess in excesses(scope, quota, taken[scope], need)]


def _where(task: Task) -> str:
    suspended = task.remark is Remark.SUSPENDED and task.status in ACTIVE
    return "suspended" if suspended or (task.array is not None and arrays.is_suspended(task)) else task.status.value
