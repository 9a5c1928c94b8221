"""The collection `projects`. The project `default` is not in it: it is the same everywhere."""

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
    """Who works together."""

    def __init__(self, database: connection.Database) -> None:
        self._projects = database["projects"]

    @connection.translated
    async def add(self, project: Project) -> None:
        """Raises `errors.Conflict` where the id is taken, as `default` always is."""
        if project.id == model.DEFAULT:
            raise errors.Conflict("the project default exists already")
        try:
            await self._projects.insert_one(project.model_dump(by_alias=True))
        except driver_errors.DuplicateKeyError:
            raise errors.Conflict(f"the project {project.id} exists already") from None

    @connection.translated
    async def get(self, project_id: str) -> Project | None:
        if project_id == model.DEFAULT:
            return model.everybody()
        document = await self._projects.find_one({"_id": {"$eq": project_id}})
        return reading.one(Project.model_validate, document, of="projects")

    @connection.translated
    async def get_many(self, ids: Collection[str]) -> builtins.list[Project]:
        """Those of `ids` that are stored, in no order."""
        return [
            Project.model_validate(document) async for document in self._projects.find({"_id": {"$in": sorted(ids)}})
        ]

    @connection.translated
    async def of_user(self, user: str) -> list[Project]:
        """The projects that a user is in, `default` first, then by name."""
        query = {"$or": [{"owner": {"$eq": user}}, {"members": {"$eq": user}}]}
        found = await reading.each(Project.model_validate, self._projects.find(query).sort("_id", 1), of="projects")
        return [model.everybody(), *found]

    @connection.translated
    async def change(self, project_id: str, fields: Mapping[str, Any]) -> Project | None:
        """Set `fields` (names of the model's) and return the project as it is now; None where there is none."""
        document = await self._projects.find_one_and_update(
            {"_id": {"$eq": project_id}}, {"$set": dict(fields)}, return_document=ReturnDocument.AFTER
        )
        return reading.one(Project.model_validate, document, of="projects")

    @connection.translated
    async def remove(self, project_id: str) -> bool:
        """False where there is no such project. Its tasks and their usage stay."""
        result = await self._projects.delete_one({"_id": {"$eq": project_id}})
        return result.deleted_count == 1

    @connection.translated
    async def leave_all(self, user: str) -> None:
        """Take a user who is deleted out of every project; those they owned are the admins' from then on."""
        await self._projects.update_many({"members": {"$eq": user}}, {"$pull": {"members": {"$eq": user}}})
        await self._projects.update_many({"owner": {"$eq": user}}, {"$set": {"owner": None}})

    @connection.translated
    async def list(self, *, owner: str | None = None) -> list[Project]:
        """All projects, or those of one owner, by name; without `default`."""
        query = {} if owner is None else {"owner": {"$eq": owner}}
        return await reading.each(Project.model_validate, self._projects.find(query).sort("_id", 1), of="projects")
