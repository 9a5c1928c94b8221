"""
Every key and channel in Redis: type, content, time to live. All names begin with `redis_prefix`.

Redis holds hints and counters that may vanish: a poll finds lost hints in MongoDB, and the counts of failed logins and the
known origins of users start over.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed logins as `name` (None: any) from `origin` (None: any) in one numbered window of time."""

    name: str | None
    origin: str | None
    window: int


@dataclass(frozen=True, slots=True)
class Keys:
    """The names for one `redis_prefix`."""

    prefix: str

    @property
    def queue(self) -> str:
        """List of ids of tasks that became pending, oldest first. At most `QUEUE_LENGTH`; no TTL. Popped by the leader."""
        return f"{self.prefix}:queue"

    @property
    def scheduler(self) -> str:
        """
        Channel. `queue`: the queue has entries; `ended <id>:<attempt> …`: these attempts hold no resources any more; `gone
        <id> …`: these tasks are no longer pending and were not placed; `maintenance`: it began or ended somewhere.
        """
        return f"{self.prefix}:wakeup:scheduler"

    @property
    def watcher(self) -> str:
        """Channel. `asked`: an owner wrote an intent."""
        return f"{self.prefix}:wakeup:watcher"

    def failures(self, of: Failures) -> str:
        """String, a number: failed logins in one window. TTL two windows."""
        name, origin = of.name or "", of.origin or ""
        # The length prevents names that count as another's.
        return f"{self.prefix}:failures:{_kind(of)}:{len(name)}:{name}:{origin}:{of.window}"

    def good(self, user: str, origin: str) -> str:
        """String, `1`: `user` has logged in from `origin`. TTL `GOOD_TTL` after the last time."""
        return f"{self.prefix}:good:{len(user)}:{user}:{origin}"

    def samples(self, task_id: int) -> str:
        """List of JSON objects, newest first: resource usage of a task. At most `SAMPLES`; TTL `SAMPLES_TTL` after the last."""
        return f"{self.prefix}:samples:{task_id}"

    def billing(self, subject: str, name: str) -> str:
        """Hash, `2026-10` to a JSON list: bills of past months of a `user` or `project`. TTL `BILLING_TTL` after the last."""
        return f"{self.prefix}:billing:{subject}:{name}"


def _kind(of: Failures) -> str:
    return "pair" if of.name is not None and of.origin is not None else "name" if of.origin is None else "origin"


GOOD_TTL = 90 * 86400  #: seconds
BILLING_TTL = 7 * 86400  #: seconds
SAMPLES = 60  #: samples of a task that are kept
SAMPLES_TTL = 900  #: seconds
QUEUE_LENGTH = 100_000  #: ids kept when no scheduler takes them; its poll finds the rest
