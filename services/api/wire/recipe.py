"""Models of a recipe of the marketplace, and the specification that it keeps of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from services.api.wire.fields import DIRECTORY_VOLUME, TaskId, Text
from shared.models.recipe import Recipe


class RecipeIn(BaseModel):
    """A recipe to create."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"description": "aligns reads", "task": 12, "public": True}]},
    )

    description: Text = Field(description="Purpose of the recipe")
    task: TaskId = Field(description="Number of the task whose specification it keeps")
    public: bool = Field(False, description="Show the recipe to everybody")


class RecipeChange(BaseModel):
    """A recipe to change."""

    model_config = ConfigDict(extra="ignore")

    description: Text | None = Field(None, description="Purpose of the recipe")
    task: TaskId | None = Field(None, description="Number of the task whose specification replaces the present one")
    public: bool | None = Field(None, description="Show the recipe to everybody")


class RecipeTitle(BaseModel):
    """A recipe in a list."""

    id: str = Field(description="Id of the recipe")
    description: str = Field(description="Purpose of the recipe")


class RecipeOut(BaseModel):
    """A recipe of the marketplace."""

    id: str = Field(description="Id of the recipe")
    description: str = Field(description="Purpose of the recipe")
    task: int = Field(description="Number of the task it was made from")
    public: bool = Field(description="The recipe is shown to everybody")
    owner: str = Field(description="Login of the owner")
    spec: dict[str, Any] = Field(description="Specification, to be sent as it is to `POST /task`")


#: Fields of a shown task that would create it again, without those that the system fills: numbers, paths, results.
_SPECIFICATION = {
    "meta": ("name", "description", "tags"),
    "requirements": (
        *("cpu", "ram", "gpus", "label", "ports", "uris", "failure_policy", "network"),
        *("tmpstorage", "maxlifespan"),
    ),
    "container": ("image", "network", "root"),
    "command": ("interactive", "cmd"),
}


def specification(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a task (as the Web API shows it) that creates a task like it."""
    spec: dict[str, Any] = {
        part: {name: task[part][name] for name in names if name in task[part]} for part, names in _SPECIFICATION.items()
    }
    array = task["requirements"]["array"]
    spec["requirements"]["array"] = {name: array.get(name) for name in ("values", "max_concurrent")}
    volumes = task["container"]["volumes"]
    spec["container"]["volumes"] = [
        {"name": volume["name"], "acl": volume["acl"]} for volume in volumes if volume["name"] != DIRECTORY_VOLUME
    ]
    return spec


def shown(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(exclude={"created_at", "author"})
