"""Path parameters that several routes have in common."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

TaskId = Annotated[int, Path(ge=1, le=2**53, description="Number of the task")]
UserId = Annotated[str, Path(max_length=64, description="Login of the user")]
ProjectId = Annotated[str, Path(max_length=64, description="Id of the project")]
Year = Annotated[int, Path(ge=1970, le=9998, description="Year of the bill, UTC")]
Month = Annotated[int, Path(ge=1, le=12, description="Month of the bill, 1 to 12, UTC")]
