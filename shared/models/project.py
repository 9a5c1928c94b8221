"""A project as it is stored."""

from __future__ import annotations

import re

from pydantic import Field

from shared.models.stored import Stored

PROJECT_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
DEFAULT = "default"  #: the project that everybody is in


class ProjectVolume(Stored):
    """A directory of the hosts that tasks of the project may ask for by name; None as in `settings.Volume`."""

    name: str
    path: str
    mount: str | None = None
    acl: str = "ro"


class Project(Stored):
    """
    Users who work on one thing. Quotas are sums over the window of usage, 0: no limit; `usage_since` is when they were last
    reset, in seconds since the epoch.
    """

    id: str = Field(alias="_id")
    description: str = ""
    owner: str | None = None
    members: list[str] = []
    prio: int = 50
    quota_time: float = 0
    quota_cpu: float = 0
    quota_ram: float = 0
    quota_gpu: float = 0
    volumes: list[ProjectVolume] = []
    usage_since: float = 0
    created_at: float = 0

    def has(self, user: str) -> bool:
        """Whether `user` is in it: as a member, as its owner, or because everybody is."""
        return self.id == DEFAULT or user == self.owner or user in self.members


def everybody() -> Project:
    """The project `default`, which is stored nowhere."""
    return Project(id=DEFAULT, description="everybody's project")
