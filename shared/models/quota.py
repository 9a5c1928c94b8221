"""Quotas, the amounts used of them, and limits on pending tasks: pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.models.project import DEFAULT


class ScopeKind(StrEnum):
    USER = "user"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Scope:
    """The user or project that a quota applies to."""

    kind: ScopeKind
    name: str

    @property
    def key(self) -> str:
        """`user alice`: unique, and shown to people."""
        return f"{self.kind} {self.name}"


def scopes_of(user: str, project: str) -> list[Scope]:
    """Return the scopes whose quotas a task of `user` in `project` counts against."""
    own = [Scope(ScopeKind.USER, user)]
    return own if project == DEFAULT else [*own, Scope(ScopeKind.PROJECT, project)]


@dataclass(frozen=True, slots=True)
class Amounts:
    """Sums of cores, GB and GPUs that attempts requested, and of their seconds. In a quota 0 means no limit."""

    cpu: float = 0
    ram: float = 0
    gpus: float = 0
    seconds: float = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.cpu + other.cpu, self.ram + other.ram, self.gpus + other.gpus, self.seconds + other.seconds)


@dataclass(frozen=True, slots=True)
class Quota:
    """The limit of a scope on its usage since `since` (seconds since the epoch)."""

    limit: Amounts
    since: float


@dataclass(frozen=True, slots=True)
class Taken:
    """`finished` is counted usage; `held` belongs to attempts that start, run, or ended and are not counted yet."""

    finished: Amounts = Amounts()
    held: Amounts = Amounts()

    @property
    def all(self) -> Amounts:
        return self.finished + self.held


@dataclass(frozen=True, slots=True)
class Excess:
    """A way in which a request exceeds a quota. `final`: finished usage alone exceeds it, so waiting does not help."""

    scope: Scope
    resource: str
    limit: float
    finished: float
    held: float
    need: float
    final: bool

    def concerns(self, need: Amounts) -> bool:
        """
        Return whether `need` would have exceeded the quota too. Any need exceeds a time quota, since time is not known
        beforehand.
        """
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


#: Tolerance: sums of fractions are not exact.
EPSILON = 1e-6


def excesses(scope: Scope, quota: Quota, taken: Taken, need: Amounts) -> list[Excess]:
    """
    Return every way in which `need` exceeds a quota. Sums of cores, GB and GPUs with it must stay within the limit; time is
    not known beforehand and must not be used up.
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
