"""The collection `recipes`: the marketplace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument
from pymongo import errors as driver_errors

from shared import errors
from shared.models.recipe import Recipe
from shared.store import connection, reading

LISTED = 10_000  #: most recipes in a list


class RecipeStore:
    """Specifications that users offer to others."""

    def __init__(self, database: connection.Database) -> None:
        self._recipes = database["recipes"]

    @connection.translated
    async def add(self, recipe: Recipe) -> None:
        """Store a recipe. Raises `errors.Conflict` if the id is taken, also by a recipe that the caller may not see."""
        try:
            await self._recipes.insert_one(recipe.model_dump(by_alias=True))
        except driver_errors.DuplicateKeyError:
            raise errors.Conflict(f"the recipe {recipe.id} exists already") from None

    @connection.translated
    async def get(self, recipe_id: str) -> Recipe | None:
        document = await self._recipes.find_one({"_id": {"$eq": recipe_id}})
        return reading.one(Recipe.model_validate, document, of="recipes")

    @connection.translated
    async def titles(self, user: str | None, *, without: Sequence[str] = ()) -> list[tuple[str, str]]:
        """Return id and description of public recipes, except of owners in `without`, and of those of `user`, by name."""
        query: dict[str, Any] = {"public": True, "owner": {"$nin": list(without)}}
        if user is not None:
            query = {"$or": [query, {"owner": {"$eq": user}}]}
        cursor = self._recipes.find(query, {"description": 1}).sort("_id", 1).limit(LISTED)
        return await reading.each(lambda found: (str(found["_id"]), str(found["description"])), cursor, of="recipes")

    @connection.translated
    async def change(self, recipe_id: str, fields: Mapping[str, Any]) -> Recipe | None:
        """Set `fields` (of the model) and return the changed recipe; None if there is none."""
        document = await self._recipes.find_one_and_update(
            {"_id": {"$eq": recipe_id}}, {"$set": dict(fields)}, return_document=ReturnDocument.AFTER
        )
        return reading.one(Recipe.model_validate, document, of="recipes")

    @connection.translated
    async def remove(self, recipe_id: str) -> bool:
        result = await self._recipes.delete_one({"_id": {"$eq": recipe_id}})
        return result.deleted_count == 1

    @connection.translated
    async def remove_of(self, owner: str) -> None:
        """Remove the recipes of a deleted user."""
        await self._recipes.delete_many({"owner": {"$eq": owner}})
