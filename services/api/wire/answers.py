"""The smaller answers of the Web API, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict
from pydantic import Field as ModelField
from starlette.responses import JSONResponse


class Json(JSONResponse):
    """JSON as clients of the original expect it: they compare the content type as a string."""

    media_type = "application/json; charset=UTF-8"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class ProblemJson(JSONResponse):
    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class Field(BaseModel):
    path: str
    rule: str


class Problem(BaseModel):
    """A problem document (RFC 9457). `code` is stable and meant for programs, `detail` for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[Field] | None = None


class Message(BaseModel):
    msg: str


class Entry(BaseModel):
    """One entry of a directory. `size` is in bytes; `encoded` is there where the name is not UTF-8, as a URL spells it."""

    name: str
    type: Literal["dir", "file"]
    size: int
    encoded: str | None = None


class Added(BaseModel):
    msg: str
    id: int


class AddedMany(BaseModel):
    """`ids` in the order in which the tasks were sent."""

    msg: str
    ids: list[int]


class Token(BaseModel):
    token: str


class Counted(BaseModel):
    total: int
    status: str


class TaskOut(BaseModel):
    """A task; its parts are described in the reference."""

    model_config = ConfigDict(extra="allow")

    id: int
    date: float
    meta: dict[str, Any]
    user: dict[str, Any]
    requirements: dict[str, Any]
    container: dict[str, Any]
    command: dict[str, Any]
    status: dict[str, Any]


class TaskStatusOut(BaseModel):
    id: int
    status: dict[str, Any]


class NodeUsage(BaseModel):
    """`[used, total]`: cores; memory and disk in bytes."""

    name: str
    cpu: list[float]
    mem: list[int]
    disk: list[int]


class DayOut(BaseModel):
    """Sums of one UTC day (`2026_11_24`): cores, GB and GPUs that tasks which ended asked for, and their seconds."""

    date: str
    cpu: float
    ram: float
    time: float
    gpus: int


class MonthOut(BaseModel):
    """Sums of one month, as of a day. `_id` names user and project."""

    id: dict[str, str] = ModelField(alias="_id")
    cpu: float
    ram: float
    gpus: int
    totaltime: float


class MaintenanceOut(BaseModel):
    """`node` is `all` for the system as a whole, `status` is `on` or `off`."""

    node: str
    status: str


class ListedNode(BaseModel):
    """
    `origin`: configured, added (while the system ran) or gone (and tasks are still there). `state`: ready, not ready, silent,
    draining, drained, not seen yet. Memory in bytes, `seen_at` in seconds since the epoch.
    """

    name: str
    origin: str
    state: str
    url: str | None
    reason: str | None
    cpus: float
    cpus_used: float
    memory: int
    memory_used: int
    gpus: int
    gpus_used: int
    tasks: int
    version: str
    seen_at: float | None
    labels: dict[str, str]


class AppTokenOut(BaseModel):
    """An application token, without the token itself. `date` is when it was made, seconds since the epoch."""

    id: str
    name: str
    date: float


class AppTokenMade(BaseModel):
    """The token is shown this once."""

    id: str
    token: str
