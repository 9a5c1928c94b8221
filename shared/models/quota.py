"""What a user or a project may use in the window, and what they have: pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.models.project import DEFAULT


class ScopeKind(StrEnum):
    USER = "user"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose quota it is."""

    kind: ScopeKind
    name: str

    @property
    def key(self) -> str:
        """`user alice`: as people read it, and unique."""
        return f"{self.kind} {self.name}"


def scopes_of(user: str, project: str) -> list[Scope]:
    """Return the scopes whose quotas a task of `user` in `project` counts against."""
    own = [Scope(ScopeKind.USER, user)]
    return own if project == DEFAULT else [*own, Scope(ScopeKind.PROJECT, project)]


@dataclass(frozen=True, slots=True)
class Amounts:
    """Cores, GB and GPUs that attempts asked for, summed, and their seconds. In a quota 0 stands for no limit."""

    cpu: float = 0
    ram: float = 0
    gpus: float = 0
    seconds: float = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.cpu + other.cpu, self.ram + other.ram, self.gpus + other.gpus, self.seconds + other.seconds)


@dataclass(frozen=True, slots=True)
class Quota:
    """The limit of a scope on what it used since `since` (seconds since the epoch)."""

    limit: Amounts
    since: float


@dataclass(frozen=True, slots=True)
class Taken:
    """`finished` is counted for good, `held` is what starts, runs, or has ended and is not counted yet."""

    finished: Amounts = Amounts()
    held: Amounts = Amounts()

    @property
    def all(self) -> Amounts:
        return self.finished + self.held


@dataclass(frozen=True, slots=True)
class Excess:
    """Why a quota does not allow what was asked for. `final`: what is finished alone is too much, waiting does not help."""

    scope: Scope
    resource: str
    limit: float
    finished: float
    held: float
    need: float
    final: bool

    def concerns(self, need: Amounts) -> bool:
        """Whether as much as `need` was too much at that moment too; of time, which is not known beforehand, anything is."""
        if self.resource == "time":
            return True
        return self.finished + self.held + float(getattr(need, self.resource)) > self.limit + EPSILON

    @property
    def text(self) -> str:
        """The excess as a sentence with its numbers."""
        whose = f"the {self.resource} quota of {self.scope.key}"
        used = f"{self.finished:g} of {self.limit:g} used"
        held = f", {self.held:g} held by tasks that run" if self.held else ""
        need = f", {self.need:g} needed" if self.need else ""
        return f"{whose}: {used}{held}{need}"


#: Sums of fractions are not exact.
EPSILON = 1e-6


def excesses(scope: Scope, quota: Quota, taken: Taken, need: Amounts) -> list[Excess]:
    """
    Every way in which `need` is too much for a quota. Of cores, GB and GPUs the sums with it must stay within the limit; time is
    not known beforehand, and must not be used up.
    """
    found = []
    for resource in ("cpu", "ram", "gpus", "seconds"):
        limit, finished, held, wanted = (
            float(getattr(amounts, resource)) for amounts in (quota.limit, taken.finished, taken.held, need)
        )
        if limit <= 0:
            continue
        timed = resource == "seconds"
        spent = finished >= limit - EPSILON if timed else finished + wanted > limit + EPSILON
        full = finished + held >= limit - EPSILON if timed else finished + held + wanted > limit + EPSILON
        if spent or full:
            name = "time" if timed else resource
            found.append(Excess(scope, name, limit, finished, held, 0 if timed else wanted, final=spent))
    return found


@dataclass(frozen=True, slots=True)
class PendingLimits:
    """The most pending tasks of one user and of all users. None: unlimited."""

    user: int | None
    everybody: int | None

    @property
    def are_none(self) -> bool:
        return self.user is None and self.everybody is None
