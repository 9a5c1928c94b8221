"""Owners of whom nothing is started: users who are disabled or being deleted, and those who left the project of their tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.models.pending_reason import PendingReason
from shared.models.project import DEFAULT
from shared.models.user import User
from shared.models.work import Pending
from shared.store.stores import Stores

Owner = tuple[str, str]  #: a user and a project


@dataclass(frozen=True, slots=True)
class Hold:
    """Why, by a code for programs and in words, and what would end it."""

    code: PendingReason
    text: str
    unblock: str


class Owners:
    """As they were when last looked at, which is with each audit, and before any placement of theirs is written."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._held: dict[Owner, Hold] = {}

    @property
    def held(self) -> Mapping[Owner, Hold]:
        return self._held

    def why(self, task: Pending) -> Hold | None:
        """Why nothing of its owner is started; None where that is not so."""
        return self._held.get((task.user, task.project)) if self._held else None

    def is_held(self, task: Pending) -> bool:
        return self.why(task) is not None

    async def look(self, owners: Iterable[Owner]) -> bool:
        """Look anew at these. True if any of them is held no longer. Raises `errors.StoreUnavailable`."""
        asked = set(owners)
        if not asked:
            return False
        before = self._held.keys() & asked
        found = await self._found(asked)
        self._held = {owner: hold for owner, hold in self._held.items() if owner not in asked} | found
        return bool(before - found.keys())

    def keep_only(self, owners: Iterable[Owner]) -> None:
        """Forget the others: nothing of theirs waits."""
        kept = set(owners)
        self._held = {owner: hold for owner, hold in self._held.items() if owner in kept}

    async def _found(self, asked: set[Owner]) -> dict[Owner, Hold]:
        users = {user.id: user for user in await self._stores.users.shut_out_among({user for user, _ in asked})}
        named = {project for _, project in asked} - {DEFAULT}
        projects = {project.id: project for project in await self._stores.projects.get_many(named)} if named else {}
        found = {}
        for user, project in asked:
            if user in users:
                found[user, project] = _shut_out(users[user])
            elif project in projects and not projects[project].has(user):
                # Of a project that is deleted, tasks go on.
                found[user, project] = _left(user, project)
        return found


def _shut_out(user: User) -> Hold:
    if user.deleting:
        return Hold(
            PendingReason.USER_DELETED,
            f"{user.id} is being deleted: nothing of theirs is started",
            "nothing: it is ended",
        )
    return Hold(
        PendingReason.USER_DISABLED, f"{user.id} is disabled: nothing of theirs is started", f"{user.id} is enabled"
    )


def _left(user: str, project: str) -> Hold:
    text = f"{user} is no longer in the project {project}: nothing of theirs is started in it"
    return Hold(PendingReason.NOT_IN_PROJECT, text, f"{user} is taken into {project} again")
