"""Hold placements against the quotas of users and projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from shared import clock, errors
from shared.lifecycle import Ending, TaskStatus
from shared.models import transitions
from shared.models.pending_reason import PendingReason
from shared.models.quota import Amounts, Excess, Quota, Scope, ScopeKind, Taken, excesses, scopes_of
from shared.models.transitions import Transition
from shared.models.work import Pending
from shared.observe import metrics
from shared.store.stores import Stores
from shared.units.sizes import GB

log = structlog.get_logger(__name__)

HOLD = 2.0  #: seconds in which nothing is offered that a quota had no room for

QUOTA_REASONS = {ScopeKind.USER: PendingReason.USER_QUOTA, ScopeKind.PROJECT: PendingReason.PROJECT_QUOTA}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A placement and the move that makes it true."""

    task: Pending
    move: Transition


@dataclass(slots=True)
class Judgement:
    """`allowed` may be placed together; the others exceed a quota, each for the reasons named."""

    allowed: list[Transition] = field(default_factory=list)
    refused: dict[int, list[Excess]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Full:
    """What was found too much for a quota, and until when that counts, on the monotonic clock."""

    until: float
    excess: Excess


def judge(wanted: Sequence[Wanted], quotas: Mapping[Scope, Quota], taken: Mapping[Scope, Taken]) -> Judgement:
    """Allow placements in their order, each on top of those before it."""
    taken = dict(taken)
    judgement = Judgement()
    for want in wanted:
        need = need_of(want.task)
        scopes = [scope for scope in scopes_of(want.task.user, want.task.project) if scope in quotas]
        found = [excess for scope in scopes for excess in excesses(scope, quotas[scope], taken[scope], need)]
        if found:
            judgement.refused[want.task.id] = found
            continue
        judgement.allowed.append(want.move)
        for scope in scopes:
            taken[scope] = Taken(taken[scope].finished, taken[scope].held + need)
    return judgement


def need_of(task: Pending) -> Amounts:
    """What a task counts for in the sums of a quota, its time aside."""
    return Amounts(cpu=task.cpus, ram=task.memory / GB, gpus=task.gpus)


class QuotaGate:
    """What the dispatcher's placements go through."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._held: dict[Scope, dict[str, _Full]] = {}  #: by resource

    def is_held(self, task: Pending) -> bool:
        """Whether a quota had no room for as much as `task` needs a moment ago: offering it again would be in vain."""
        return bool(self._held) and bool(self.excesses_of(task))

    def excesses_of(self, task: Pending) -> list[Excess]:
        """Why `task` is held; nothing if it is not. A smaller one than that which was too large may be let through."""
        need = need_of(task)
        held = [self._held[scope] for scope in scopes_of(task.user, task.project) if scope in self._held]
        return [full.excess for found in held for full in found.values() if full.excess.concerns(need)]

    def reason(self, task: Pending) -> PendingReason | None:
        """Return the reason of the first quota that holds `task`; None if none does."""
        return next((QUOTA_REASONS[excess.scope.kind] for excess in self.excesses_of(task)), None)

    @property
    def held(self) -> Mapping[Scope, str]:
        """The scopes of which something is held, and why."""
        return {scope: next(iter(found.values())).excess.text for scope, found in self._held.items()}

    def let_go(self) -> None:
        """Hold no longer what has been held for long enough: it is worth another look."""
        now = clock.monotonic()
        left = {
            scope: {name: one for name, one in full.items() if one.until > now} for scope, full in self._held.items()
        }
        self._held = {scope: full for scope, full in left.items() if full}

    @property
    def next_look(self) -> float | None:
        """Seconds until something is let go; None where nothing is held."""
        ends = [full.until for found in self._held.values() for full in found.values()]
        return min(ends) - clock.monotonic() if ends else None

    async def place(self, wanted: Sequence[Wanted]) -> set[int]:
        """
        Write those placements that are within their quotas, and end the tasks for which waiting would not help. Return the
        ids that were placed. Raises `errors.StoreUnavailable`.
        """
        scopes = {scope for want in wanted for scope in scopes_of(want.task.user, want.task.project)}
        quotas = await self._stores.quotas.limits(scopes)
        limited = [want for want in wanted if _is_limited(want.task, quotas)]
        if not limited:
            return await self._stores.tasks.transition_many([want.move for want in wanted])
        free = [want.move for want in wanted if not _is_limited(want.task, quotas)]
        won = await self._stores.tasks.transition_many(free)
        try:
            placed, judgement = await self._place_limited(limited, quotas)
        except errors.StoreUnavailable as error:
            if not free:
                raise
            # What is written already must be started; the others are found pending.
            log.warning("quotas.not_checked", error=str(error), tasks=len(limited))
            return won
        await self._refuse([want for want in limited if want.task.id in judgement.refused], judgement.refused)
        return won | placed

    async def _place_limited(
        self, limited: Sequence[Wanted], quotas: Mapping[Scope, Quota]
    ) -> tuple[set[int], Judgement]:
        def allow(taken: Mapping[Scope, Taken]) -> tuple[list[Transition], Judgement]:
            judgement = judge(limited, quotas, taken)
            return judgement.allowed, judgement

        try:
            return await self._stores.quotas.place(quotas, allow)
        except errors.Conflict:
            return set(), Judgement()  # another scheduler was faster: they are planned anew

    async def _refuse(self, wanted: Sequence[Wanted], refused: Mapping[int, Sequence[Excess]]) -> None:
        now, until = clock.now(), clock.monotonic() + HOLD
        ends = []
        for want in wanted:
            found = refused[want.task.id]
            final = [excess for excess in found if excess.final]
            if final:
                ends.append(_end(want.task, "; ".join(excess.text for excess in final), now))
            else:
                for excess in found:
                    self._held.setdefault(excess.scope, {})[excess.resource] = _Full(until, excess)
        metrics.QUOTA_REFUSALS.labels("ended").inc(len(ends))
        metrics.QUOTA_REFUSALS.labels("waits").inc(len(wanted) - len(ends))
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
