"""Collect what the leading scheduler knows of a pending task, for `explanation`, which computes the reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from services.scheduler import quota_gate
from services.scheduler.cluster import Cluster
from services.scheduler.owners import Owners
from services.scheduler.placement.reservation import Reservation
from services.scheduler.policies.base import Policy
from services.scheduler.policies.position import position
from services.scheduler.policies.usage_cache import UsageCache
from services.scheduler.queue.book import Book
from services.scheduler.quota_gate import QuotaGate
from services.scheduler.why_pending import explanation
from services.scheduler.why_pending.explanation import Facts
from services.scheduler.why_pending.node_verdicts import NodeReasons
from shared import clock, errors
from shared.lifecycle import ACTIVE, IntentResult
from shared.models.pending_reason import PendingReason
from shared.models.quota import Excess, excesses, scopes_of
from shared.models.task import Task
from shared.models.work import Pending
from shared.rules import arrays
from shared.settings import Settings
from shared.store.stores import Stores

MOST = 500  #: shapes that are compared with the nodes for one explanation


class Explainer:
    """Collects the facts about one task and explains it. See `explain_routes.Explains`."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        book: Book,
        cluster: Cluster,
        policy: Policy,
        usage: UsageCache,
        quotas: QuotaGate,
        owners: Owners,
        *,
        reservation: Callable[[], Reservation | None],
        leads: Callable[[], bool],
    ) -> None:
        """
        `reservation` returns the one of the last pass; `leads` whether this scheduler leads and has filled its book,
        without which it can explain nothing.
        """
        self._policy_name = settings.scheduler_policy
        self._stores = stores
        self._book = book
        self._cluster = cluster
        self._policy = policy
        self._usage = usage
        self._quotas = quotas
        self._owners = owners
        self._reservation = reservation
        self._leads = leads

    async def explain(self, task_id: int) -> dict[str, Any] | None:
        """
        Explain the task as it is stored now; None if it is not pending. Raises `errors.SchedulerUnavailable` and
        `errors.StoreUnavailable`.
        """
        self._check()
        tasks = await self._stores.work.pending_of([task_id])
        return explanation.explain(tasks[0], await self._facts(tasks[0])) if tasks else None

    async def explain_unsent(self, values: dict[str, Any]) -> dict[str, Any]:
        """
        Explain a task that is not stored, from the values of its `Pending` by name. Raises KeyError and TypeError where
        they do not make one.
        """
        self._check()
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        known = {field.name for field in fields(Pending)}
        task = Pending(**{name: value for name, value in values.items() if name in known} | {"array": None})
        return explanation.explain(task, await self._facts(task))

    def _check(self) -> None:
        if not self._leads():
            raise errors.SchedulerUnavailable("another scheduler leads")

    async def _facts(self, task: Pending) -> Facts:
        now = clock.now()
        view = self._usage.view(now)
        await self._owners.refresh([(task.user, task.project)])
        array = task.id if task.array is not None else task.parent
        limit = self._book.limits.get(array) if array is not None else None
        placed = self._cluster.children([array]) if array is not None and limit is not None else {}
        return Facts(
            now=now,
            looked_at=self._cluster.observed_at or now,
            nodes=self._cluster.snapshot(),
            policy=self._policy_name,
            # A task that is not stored would be the last in the queue.
            offered=sum(map(len, self._book.lanes.values())) + (not task.id),
            before=self._before(task),
            # The score of fifo is the age, which adds nothing to the position.
            score=self._policy.score(task, view) if self._policy_name != "fifo" else None,
            hold=self._owners.why(task),
            in_maintenance=self._cluster.is_in_maintenance,
            predecessors=await self._predecessors(task),
            # A quota that was full a moment ago keeps holding the task for a while, even if it has room again by now.
            excesses=await self._excesses(task) or self._quotas.excesses_of(task),
            array_limit=(limit, placed.get(array, 0)) if limit and array is not None else None,
            array_suspended=limit == 0,  # only a suspended array has a limit of 0
            reservation=self._reservation(),
        )

    def _before(self, task: Pending) -> int | None:
        """Count the tasks that are offered before `task`; None if it is not offered itself."""
        lanes, view = self._book.lanes, self._usage.view(clock.now())
        if task.id and self._book.get(task.id) is None:
            return None
        may_run = self._may_run()
        if task.id:
            return position(self._policy, task.id, lanes, view, may_run=may_run)
        return sum(len(lane) for lane in lanes.values() if may_run(lane[0]))

    def _may_run(self) -> Callable[[Pending], bool]:
        """
        Return a predicate that is false for tasks that delay no others: no node could ever take them, or their owner is
        held.
        """
        node_reasons = NodeReasons(self._cluster.snapshot())
        never: dict[str, bool] = {}

        def may_run(task: Pending) -> bool:
            if task.shape not in never and len(never) < MOST:
                never[task.shape] = node_reasons.reason(task) is PendingReason.NEVER
            return not never.get(task.shape, False) and not self._owners.is_held(task)

        return may_run

    async def _predecessors(self, task: Pending) -> dict[int, str]:
        if not task.waiting_on:
            return {}
        return {one.id: _state(one) for one in await self._stores.work.whole(task.waiting_on)}

    async def _excesses(self, task: Pending) -> list[Excess]:
        limits = await self._stores.quotas.limits(scopes_of(task.user, task.project))
        if not limits:
            return []
        taken = await self._stores.quotas.taken(limits)
        need = quota_gate.need_of(task)
        return [excess for scope, quota in limits.items() for excess in excesses(scope, quota, taken[scope], need)]


def _state(task: Task) -> str:
    suspended = task.remark is IntentResult.SUSPENDED and task.status in ACTIVE
    return "suspended" if suspended or (task.array is not None and arrays.is_suspended(task)) else task.status.value
