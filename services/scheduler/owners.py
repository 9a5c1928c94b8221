"""Reason the tasks of users who are disabled, being deleted, or no longer in the project of the task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.scheduler.placement.feasibility import Reason
from shared.models.pending_reason import PendingReason
from shared.models.project import DEFAULT
from shared.models.user import User
from shared.models.work import Pending
from shared.store.stores import Stores

Owner = tuple[str, str]  #: a user and a project


class Owners:
    """The held owners, read with each audit and before any of their placements is written."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._held: dict[Owner, Reason] = {}

    @property
    def held(self) -> Mapping[Owner, Reason]:
        return self._held

    def why(self, task: Pending) -> Reason | None:
        """Return the hold on the owner of `task`; None if there is none."""
        return self._held.get((task.user, task.project)) if self._held else None

    def is_held(self, task: Pending) -> bool:
        return self.why(task) is not None

    async def refresh(self, owners: Iterable[Owner]) -> bool:
        """Read these owners again. True if one of them is no longer held. Raises `errors.StoreUnavailable`."""
        asked = set(owners)
        if not asked:
            return False
        before = self._held.keys() & asked
        held = await self._read(asked)
        self._held = {owner: hold for owner, hold in self._held.items() if owner not in asked} | held
        return bool(before - held.keys())

    def keep_only(self, owners: Iterable[Owner]) -> None:
        """Forget all other owners: none of their tasks is pending."""
        kept = set(owners)
        self._held = {owner: hold for owner, hold in self._held.items() if owner in kept}

    async def _read(self, asked: set[Owner]) -> dict[Owner, Reason]:
        users = {user.id: user for user in await self._stores.users.shut_out_among({user for user, _ in asked})}
        named = {project for _, project in asked} - {DEFAULT}
        projects = {project.id: project for project in await self._stores.projects.get_many(named)} if named else {}
        held = {}
        for user, project in asked:
            if user in users:
                held[user, project] = _shut_out(users[user])
            elif project in projects and not projects[project].has(user):
                # Tasks of a deleted project still start.
                held[user, project] = _left(user, project)
        return held


def _shut_out(user: User) -> Reason:
    if user.deleting:
        text = f"{user.id} is being deleted: nothing of theirs is started"
        return Reason(PendingReason.USER_DELETED, text, unblock="nothing: it is ended")
    text = f"{user.id} is disabled: nothing of theirs is started"
    return Reason(PendingReason.USER_DISABLED, text, unblock=f"{user.id} is enabled")


def _left(user: str, project: str) -> Reason:
    text = f"{user} is no longer in the project {project}: nothing of theirs is started in it"
    return Reason(PendingReason.NOT_IN_PROJECT, text, unblock=f"{user} is taken into {project} again")
