"""Kinds of fields that several documents of the Web API have."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import BeforeValidator, Field

from services.api.wire.submission import Line


def _no_bool(value: Any) -> Any:
    # Python's bool is an int, and true is not an amount.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


#: A sum over the window of usage, 0: no limit. Numbers may come as strings.
Quota = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, le=1e15, allow_inf_nan=False)]
Priority = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=100)]
Email = Annotated[Line, Field(max_length=254, pattern=r"^([^@\s]+@[^@\s]+)?$")]
Login = Annotated[str, Field(max_length=32, pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]

UserId = Annotated[str, Path(max_length=64, description="The user's id")]
ProjectId = Annotated[str, Path(max_length=64, description="The project's id")]

Year = Annotated[int, Path(ge=1970, le=9998)]
Month = Annotated[int, Path(ge=1, le=12)]
