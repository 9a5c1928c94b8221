"""A recipe of the marketplace as it is stored: a task's specification that others may start from."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field

from shared.models.stored import Stored

RECIPE_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


class Recipe(Stored):
    """
    `spec` is what would create the task `task` again; it stays as it was when the recipe was made from it. `author` is the user
    whose task that was; None in a recipe of an earlier version.
    """

    id: str = Field(alias="_id")
    description: str
    task: int
    public: bool = False
    owner: str
    spec: dict[str, Any]
    author: str | None = None
    created_at: float
