"""
Known severe vulnerabilities of MongoDB, Redis and other servers, by version: the only list of them, to be kept up to date.

A fault counts if anybody who reaches the server gains unintended rights. Faults that need a login like ours, and crashes, do
not count.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

MONGOD, REDIS, DOCKER, RUNC = "MongoDB", "Redis", "Docker", "runc"

#: Protections that keep a fault from being reached, whatever the version.
NO_COMPRESSION = "network compression is off"
NO_SCRIPTS = "scripts are off"
NO_PLUGINS = "no authorization plugin is used"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault. `mended` has the first version without it in each release line; newer lines never had it."""

    part: str
    names: str
    lets: str  #: what it allows others to do
    mended: tuple[tuple[int, ...], ...]
    closed_by: str | None = None

    def is_in(self, version: tuple[int, ...]) -> bool:
        """Return whether a version has the fault."""
        for first in self.mended:
            if version[: len(first) - 1] == first[:-1]:
                return version < first
        return version < max(self.mended)

    @property
    def advice(self) -> str:
        """Advice to administrators that removes the fault."""
        versions = ", ".join(".".join(map(str, first)) for first in self.mended)
        return f"take {versions} or later, or a build of your distribution with the fix"


#: From the advisories of each project; the last look was in November 2026.
FAULTS = (
    Fault(
        MONGOD,
        "CVE-2025-14847",
        "whoever reaches its port reads its memory without a login",
        ((4, 4, 30), (5, 0, 32), (6, 0, 27), (7, 0, 28), (8, 0, 17), (8, 2, 3)),
        closed_by=NO_COMPRESSION,
    ),
    Fault(
        REDIS,
        "CVE-2025-49844",
        "whoever may run a script gets out of its sandbox",
        ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
        closed_by=NO_SCRIPTS,
    ),
    Fault(
        DOCKER,
        "CVE-2024-41110",
        "requests get past authorization plugins",
        ((23, 0, 15), (25, 0, 6), (26, 1, 5), (27, 1, 1)),
        closed_by=NO_PLUGINS,
    ),
    Fault(
        RUNC,
        "CVE-2024-21626, CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881",
        "an image gets out of its container",
        ((1, 2, 8), (1, 3, 3)),
    ),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A fault of a checked server. `is_closed`: the server has it, but nobody can reach it."""

    fault: Fault
    version: str
    is_closed: bool

    def __str__(self) -> str:
        sentence = f"{self.fault.part} {self.version} has {self.fault.names} ({self.fault.lets})"
        return f"{sentence}: {self.fault.closed_by}" if self.is_closed else f"{sentence}: {self.fault.advice}"


def of(part: str, version: str, *, closed: Collection[str] = ()) -> list[Found]:
    """Return the faults of a version. `closed` has the server's protections, which make some unreachable."""
    numbers = parse(version)
    return [
        Found(fault, version, fault.closed_by is not None and fault.closed_by in closed)
        for fault in FAULTS
        if fault.part == part and fault.is_in(numbers)
    ]


def parse(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version for comparison: `1.1.5+ds1` is (1, 1, 5)."""
    numbers: list[int] = []
    for word in text.split("."):
        digits = word[: next((at for at, character in enumerate(word) if not character.isdigit()), len(word))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != word:
            break
    return tuple(numbers)
