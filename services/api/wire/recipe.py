"""A recipe of the marketplace as the Web API shows it, and the specification that it keeps of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from services.api.wire.submission import TaskId
from shared.models.recipe import Recipe

Description = Annotated[str, Field(max_length=10_000)]


class RecipeIn(BaseModel):
    """A recipe to make: `task` is the number of the task whose specification it keeps."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"description": "aligns reads", "task": 12, "public": True}]},
    )

    description: Description
    task: TaskId
    public: bool = False


class RecipeChange(BaseModel):
    """A recipe to change; with `task` its specification becomes that of another task."""

    model_config = ConfigDict(extra="ignore")

    description: Description | None = None
    task: TaskId | None = None
    public: bool | None = None


class RecipeTitle(BaseModel):
    id: str
    description: str


class RecipeOut(BaseModel):
    """A recipe. `spec` can be sent as a task."""

    id: str
    description: str
    task: int
    public: bool
    owner: str
    spec: dict[str, Any]


#: Of a task as it is shown, what would create it again. What it got from the system stays behind: numbers, paths, results.
_KEPT = {
    "meta": ("name", "description", "tags"),
    "requirements": (
        *("cpu", "ram", "gpus", "label", "ports", "uris", "failure_policy", "network"),
        *("tmpstorage", "maxlifespan"),
    ),
    "container": ("image", "network", "root"),
    "command": ("interactive", "cmd"),
}


def specification(task: Mapping[str, Any]) -> dict[str, Any]:
    """What of a task (as the Web API shows it) a new one like it is made from."""
    spec: dict[str, Any] = {
        part: {name: task[part][name] for name in names if name in task[part]} for part, names in _KEPT.items()
    }
    array = task["requirements"]["array"]
    spec["requirements"]["array"] = {name: array.get(name) for name in ("values", "max_concurrent")}
    volumes = task["container"]["volumes"]
    spec["container"]["volumes"] = [
        {"name": volume["name"], "acl": volume["acl"]} for volume in volumes if volume["name"] != "go-docker"
    ]
    return spec


def shown(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(exclude={"created_at"})
