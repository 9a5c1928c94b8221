"""The collection `projects`, without `default`, which is the same everywhere."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping
from typing import Any

from pymongo import ReturnDocument
from pymongo import errors as driver_errors

from shared import errors
from shared.models import project as model
from shared.models.project import Project
from shared.store import connection, reading


class ProjectStore:
    """Projects and their members."""

    def __init__(self, database: connection.Database) -> None:
        self._projects = database["projects"]

    @connection.translated
    async def add(self, project: Project) -> None:
        """Store a project. Raises `errors.Conflict` if the id is taken, as `default` always is."""
        if project.id == model.DEFAULT:
            raise errors.Conflict("the project default exists already")
        try:
            await self._projects.insert_one(project.model_dump(by_alias=True))
        except driver_errors.DuplicateKeyError:
            raise errors.Conflict(f"the project {project.id} exists already") from None

    async def get(self, project_id: str) -> Project | None:
        # Most tasks are in it: it is neither read nor timed.
        return model.everybody() if project_id == model.DEFAULT else await self._stored(project_id)

    @connection.translated
    async def _stored(self, project_id: str) -> Project | None:
        document = await self._projects.find_one({"_id": {"$eq": project_id}})
        return reading.one(Project.model_validate, document, of="projects")

    @connection.translated
    async def get_many(self, ids: Collection[str]) -> builtins.list[Project]:
        """Return the stored projects of `ids`, in no order."""
        return [
            Project.model_validate(document) async for document in self._projects.find({"_id": {"$in": sorted(ids)}})
        ]

    @connection.translated
    async def of_user(self, user: str) -> list[Project]:
        """Return the projects of a user, `default` first, then by name."""
        query = {"$or": [{"owner": {"$eq": user}}, {"members": {"$eq": user}}]}
        found = await reading.each(Project.model_validate, self._projects.find(query).sort("_id", 1), of="projects")
        return [model.everybody(), *found]

    @connection.translated
    async def change(self, project_id: str, fields: Mapping[str, Any]) -> Project | None:
        """Set `fields` (of the model) and return the changed project; None if there is none."""
        document = await self._projects.find_one_and_update(
            {"_id": {"$eq": project_id}}, {"$set": dict(fields)}, return_document=ReturnDocument.AFTER
        )
        return reading.one(Project.model_validate, document, of="projects")

    @connection.translated
    async def remove(self, project_id: str) -> bool:
        """Remove a project; its tasks and their usage stay. Return False if there is none."""
        result = await self._projects.delete_one({"_id": {"$eq": project_id}})
        return result.deleted_count == 1

    @connection.translated
    async def leave_all(self, user: str) -> None:
        """Remove a deleted user from every project; projects they owned have no owner, so admins manage them."""
        await self._projects.update_many({"members": {"$eq": user}}, {"$pull": {"members": {"$eq": user}}})
        await self._projects.update_many({"owner": {"$eq": user}}, {"$set": {"owner": None}})

    @connection.translated
    async def list(self, *, owner: str | None = None) -> list[Project]:
        """Return all projects, or those of one owner, by name; without `default`."""
        query = {} if owner is None else {"owner": {"$eq": owner}}
        return await reading.each(Project.model_validate, self._projects.find(query).sort("_id", 1), of="projects")
