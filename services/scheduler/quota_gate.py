"""
Hold placements against the quotas of users and projects.

`shared.store.quotas.QuotaStore.place` checks and writes them in one transaction, so that two schedulers cannot exceed a quota.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from shared import clock, errors
from shared.lifecycle import Ending, TaskStatus
from shared.models import transitions
from shared.models.pending_reason import OF_QUOTA, PendingReason
from shared.models.quota import Amounts, Excess, Quota, Scope, Taken, excesses, scopes_of
from shared.models.transitions import Transition
from shared.models.work import Pending
from shared.observe import metrics
from shared.store.stores import Stores
from shared.units.sizes import GB

log = structlog.get_logger(__name__)

HOLD = 2.0  #: seconds for which a full quota holds tasks that are too large for it


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task and the transition that places it."""

    task: Pending
    transition: Transition


@dataclass(slots=True)
class Decision:
    """The transitions that may be written together, and by task id the excesses of the other candidates."""

    allowed: list[Transition] = field(default_factory=list)
    rejected: dict[int, list[Excess]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Full:
    """An excess of a quota, which holds tasks until `until` on the monotonic clock."""

    until: float
    excess: Excess


def decide(candidates: Sequence[Candidate], quotas: Mapping[Scope, Quota], taken: Mapping[Scope, Taken]) -> Decision:
    """Allow candidates in order, each on top of those allowed before it."""
    taken = dict(taken)
    decision = Decision()
    for candidate in candidates:
        need = need_of(candidate.task)
        scopes = [scope for scope in scopes_of(candidate.task.user, candidate.task.project) if scope in quotas]
        over = [excess for scope in scopes for excess in excesses(scope, quotas[scope], taken[scope], need)]
        if over:
            decision.rejected[candidate.task.id] = over
            continue
        decision.allowed.append(candidate.transition)
        for scope in scopes:
            taken[scope] = Taken(taken[scope].finished, taken[scope].held + need)
    return decision


def need_of(task: Pending) -> Amounts:
    """Return what `task` adds to the sums of a quota, except for its time."""
    return Amounts(cpu=task.cpus, ram=task.memory / GB, gpus=task.gpus)


class QuotaGate:
    """Checks placements against quotas as they are written, and holds tasks for a while that a full quota rejected."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._held: dict[Scope, dict[str, _Full]] = {}  #: by resource

    def is_held(self, task: Pending) -> bool:
        """Check whether a quota was too full for `task` a moment ago, so that placing it would fail again."""
        return bool(self._held) and bool(self.excesses_of(task))

    def excesses_of(self, task: Pending) -> list[Excess]:
        """
        Return the excesses that hold `task`; none if it is not held. A task smaller than the rejected one may pass.
        """
        need = need_of(task)
        held = [self._held[scope] for scope in scopes_of(task.user, task.project) if scope in self._held]
        return [full.excess for fulls in held for full in fulls.values() if full.excess.concerns(need)]

    def reason(self, task: Pending) -> PendingReason | None:
        """Return the reason of the first quota that holds `task`; None if none does."""
        return next((OF_QUOTA[excess.scope.kind] for excess in self.excesses_of(task)), None)

    @property
    def held(self) -> Mapping[Scope, str]:
        """The scopes with a full quota, each with the reason as a sentence."""
        return {scope: next(iter(fulls.values())).excess.text for scope, fulls in self._held.items()}

    def expire(self) -> None:
        """Forget excesses older than `HOLD`: the quota may have room again."""
        now = clock.monotonic()
        left = {
            scope: {name: one for name, one in full.items() if one.until > now} for scope, full in self._held.items()
        }
        self._held = {scope: full for scope, full in left.items() if full}

    @property
    def expires_in(self) -> float | None:
        """Seconds until the next excess expires; None if there is none."""
        ends = [full.until for fulls in self._held.values() for full in fulls.values()]
        return min(ends) - clock.monotonic() if ends else None

    async def place(self, candidates: Sequence[Candidate]) -> set[int]:
        """
        Write the placements that are within their quotas, and end tasks that waiting would not help. Return the ids of
        the placed tasks. Raises `errors.StoreUnavailable`.
        """
        scopes = {scope for one in candidates for scope in scopes_of(one.task.user, one.task.project)}
        quotas = await self._stores.quotas.limits(scopes)
        limited = [one for one in candidates if _is_limited(one.task, quotas)]
        if not limited:
            return await self._stores.tasks.transition_many([one.transition for one in candidates])
        free = [one.transition for one in candidates if not _is_limited(one.task, quotas)]
        won = await self._stores.tasks.transition_many(free)
        try:
            placed, decision = await self._place_limited(limited, quotas)
        except errors.StoreUnavailable as error:
            if not free:
                raise
            # The placements already written must be started; the other tasks stay pending.
            log.warning("quotas.not_checked", error=str(error), tasks=len(limited))
            return won
        await self._reject([one for one in limited if one.task.id in decision.rejected], decision.rejected)
        return won | placed

    async def _place_limited(
        self, limited: Sequence[Candidate], quotas: Mapping[Scope, Quota]
    ) -> tuple[set[int], Decision]:
        def allow(taken: Mapping[Scope, Taken]) -> tuple[list[Transition], Decision]:
            decision = decide(limited, quotas, taken)
            return decision.allowed, decision

        try:
            return await self._stores.quotas.place(quotas, allow)
        except errors.Conflict:
            return set(), Decision()  # another scheduler was faster; the tasks are planned again

    async def _reject(self, candidates: Sequence[Candidate], rejected: Mapping[int, Sequence[Excess]]) -> None:
        now, until = clock.now(), clock.monotonic() + HOLD
        ends = []
        for candidate in candidates:
            over = rejected[candidate.task.id]
            final = [excess for excess in over if excess.final]
            if final:
                ends.append(_end(candidate.task, "; ".join(excess.text for excess in final), now))
            else:
                for excess in over:
                    self._held.setdefault(excess.scope, {})[excess.resource] = _Full(until, excess)
        metrics.QUOTA_REFUSALS.labels("ended").inc(len(ends))
        metrics.QUOTA_REFUSALS.labels("waits").inc(len(candidates) - len(ends))
        ended = await self._stores.tasks.transition_many(ends)
        if ended:
            log.info("tasks.over_quota", count=len(ended))


def _is_limited(task: Pending, quotas: Mapping[Scope, Quota]) -> bool:
    return any(scope in quotas for scope in scopes_of(task.user, task.project))


def _end(task: Pending, reason: str, now: float) -> Transition:
    return transitions.end_unplaced(
        task.id,
        task.attempt,
        TaskStatus.PENDING,
        ending=Ending.QUOTA_REACHED,
        reason=reason,
        at=now,
        intents=[None],
        about={"user": task.user},
    )
