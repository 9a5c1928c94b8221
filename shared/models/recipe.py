"""A recipe of the marketplace as it is stored: a task's specification for others to start from."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field

from shared.models.stored import Stored

RECIPE_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


class Recipe(Stored):
    """
    `spec` would create the task `task` again and stays as it was when the recipe was made. `author` is the owner of that
    task; None in recipes of an earlier version.
    """

    id: str = Field(alias="_id")
    description: str
    task: int
    public: bool = False
    owner: str
    spec: dict[str, Any]
    author: str | None = None
    created_at: float
