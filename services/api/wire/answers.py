"""The smaller answers of the Web API, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import JSONResponse

from services.api.wire.fields import without_default


class Json(JSONResponse):
    """JSON as clients of the original expect it: they compare the content type as a string."""

    media_type = "application/json; charset=UTF-8"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class ProblemJson(JSONResponse):
    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class BrokenRule(BaseModel):
    """A field that breaks a rule."""

    path: str = Field(description="Path of the field, like `requirements.cpu`")
    rule: str = Field(description="Rule that it breaks, as a sentence")


class Problem(BaseModel):
    """A problem document (RFC 9457). `code` is stable and meant for programs, `detail` for people."""

    type: str = Field("about:blank", description="Always `about:blank`: `code` tells problems apart")
    title: str = Field(description="Name of the HTTP status")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="Problem, as a sentence")
    code: str = Field(description="Stable name of the problem, like `task_not_found`")
    errors: list[BrokenRule] | None = Field(
        None, description="Fields that break a rule, where the code is `invalid_input`"
    )


class Message(BaseModel):
    """The result of a request."""

    msg: str = Field(description="Result, as a sentence")


class Entry(BaseModel):
    """One entry of a directory."""

    name: str = Field(description="Name of the file or directory")
    type: Literal["dir", "file"] = Field(description="Kind of the entry")
    size: int = Field(description="Size in bytes")
    encoded: str | None = Field(None, description="Name as a URL spells it, where the name is not UTF-8")


Warnings = Annotated[
    list[str],
    Field(description="Oddities of the request that did not stop it, as sentences; absent where there are none"),
]


class Added(BaseModel):
    """A task that was created."""

    msg: str = Field(description="Result, as a sentence")
    id: int = Field(description="Number of the task")
    warnings: Warnings | SkipJsonSchema[None] = Field(None, json_schema_extra=without_default)


class AddedMany(BaseModel):
    """Tasks that were created."""

    msg: str = Field(description="Result, as a sentence")
    ids: list[int] = Field(description="Numbers of the tasks, in the order in which they were sent")
    warnings: Warnings | SkipJsonSchema[None] = Field(None, json_schema_extra=without_default)


class Token(BaseModel):
    """A token."""

    token: str = Field(description="Token, to be sent as it is")


class Shared(BaseModel):
    """A share token of a task."""

    token: str = Field(description="Token that lets anybody see the task and its files")
    url: str = Field(description="Path of the task on this server, with the token in it")
    files_url: str = Field(description="Path of its files on this server, with the token in it")
    expires: float = Field(description="End of the token, seconds since the epoch (UTC)")


class Counted(BaseModel):
    """A number of tasks."""

    total: int = Field(description="Number of tasks of all users")
    status: str = Field(description="Status that was counted")


class NodeUsage(BaseModel):
    """Use of one node."""

    name: str = Field(description="Name of the node")
    cpu: list[float] = Field(description="Cores: used, total", min_length=2, max_length=2)
    mem: list[int] = Field(description="Memory in bytes: used, total", min_length=2, max_length=2)
    disk: list[int] = Field(description="Disk in bytes: used, total", min_length=2, max_length=2)


class DayOut(BaseModel):
    """Usage of one UTC day, by tasks that ended on it."""

    date: str = Field(description="Day in UTC, like `2026_11_24`")
    cpu: float = Field(description="Sum of the cores that the tasks asked for")
    ram: float = Field(description="Sum of the memory that the tasks asked for, in GB")
    time: float = Field(description="Sum of the seconds that the tasks ran")
    gpus: int = Field(description="Sum of the GPUs that the tasks asked for")
    core_seconds: float = Field(description="Cores × seconds, task by task; 3600 are one core hour")
    gb_seconds: float = Field(description="GB of memory × seconds, task by task")
    gpu_seconds: float = Field(description="GPUs × seconds, task by task")


class BillOf(BaseModel):
    """Subject of a bill."""

    user: str = Field(description="Login of the user")
    project: str = Field(description="Id of the project")


class MonthOut(BaseModel):
    """Usage of one month, by one user in one project."""

    id: BillOf = Field(alias="_id", description="User and project")
    cpu: float = Field(description="Sum of the cores that the tasks asked for")
    ram: float = Field(description="Sum of the memory that the tasks asked for, in GB")
    gpus: int = Field(description="Sum of the GPUs that the tasks asked for")
    totaltime: float = Field(description="Sum of the seconds that the tasks ran")
    core_seconds: float = Field(description="Cores × seconds, task by task; 3600 are one core hour")
    gb_seconds: float = Field(description="GB of memory × seconds, task by task")
    gpu_seconds: float = Field(description="GPUs × seconds, task by task")


class MaintenanceOut(BaseModel):
    """Maintenance of a node, or of the system."""

    node: str = Field(description="Name of the node; `all` for the whole system")
    status: Literal["on", "off"] = Field(description="Whether it is in maintenance")


class ListedNode(BaseModel):
    """A node as an operator sees it."""

    name: str = Field(description="Name of the node")
    origin: str = Field(description="`configured`, `added` while the system ran, or `gone` with tasks still on it")
    state: str = Field(description="`ready`, `not ready`, `silent`, `draining`, `drained` or `not seen yet`")
    url: str | None = Field(description="Address of its Docker Engine")
    reason: str | None = Field(description="Why it is not ready, as a sentence")
    cpus: float = Field(description="Cores")
    cpus_used: float = Field(description="Cores in use")
    memory: int = Field(description="Memory in bytes")
    memory_used: int = Field(description="Memory in use, in bytes")
    gpus: int = Field(description="Number of GPUs")
    gpus_used: int = Field(description="Number of GPUs in use")
    tasks: int = Field(description="Number of tasks on it")
    version: str = Field(description="Version of its engine")
    seen_at: float | None = Field(description="When it last answered, seconds since the epoch (UTC)")
    labels: dict[str, str] = Field(description="Labels that tasks can ask for")


class AppTokenOut(BaseModel):
    """An application token, without the token itself."""

    id: str = Field(description="Id of the application token")
    name: str = Field(description="Name of the application")
    date: float = Field(description="When it was created, seconds since the epoch (UTC)")


class AppTokenMade(BaseModel):
    """A new application token."""

    id: str = Field(description="Id of the application token")
    token: str = Field(description="Token for the application; it is shown only now")
