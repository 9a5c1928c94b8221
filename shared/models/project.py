"""A project as it is stored."""

from __future__ import annotations

import re

from pydantic import Field

from shared.models.stored import Stored

PROJECT_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
DEFAULT = "default"  #: the project of all users


class ProjectVolume(Stored):
    """A directory of the hosts that tasks of the project may mount by name; None as in `settings.Volume`."""

    name: str
    path: str
    mount: str | None = None
    acl: str = "ro"


class Project(Stored):
    """
    Users who work together. Quotas are sums over the usage window, 0: no limit; `usage_since` is the time of their last
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
        """Return whether `user` is a member, the owner, or the project is everybody's."""
        return self.id == DEFAULT or user == self.owner or user in self.members


def everybody() -> Project:
    """Return the project `default`, which is not stored."""
    return Project(id=DEFAULT, description="everybody's project")
