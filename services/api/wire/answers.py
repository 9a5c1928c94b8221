"""Models of the smaller answers of the Web API, for its OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from services.api.wire.fields import without_default


class BrokenRule(BaseModel):
    """An invalid field."""

    path: str = Field(description="Path of the field, like `requirements.cpu`")
    rule: str = Field(description="Broken rule, as a sentence")


class Problem(BaseModel):
    """A problem document (RFC 9457). `code` is stable and for programs, `detail` is for people."""

    type: str = Field("about:blank", description="Always `about:blank`: use `code` instead")
    title: str = Field(description="Name of the HTTP status")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="Problem, as a sentence")
    code: str = Field(description="Stable name of the problem, like `task_not_found`")
    errors: list[BrokenRule] | None = Field(None, description="Invalid fields, if the code is `invalid_input`")


class Message(BaseModel):
    """The result of a request."""

    msg: str = Field(description="Result, as a sentence")


class Entry(BaseModel):
    """One entry of a directory."""

    name: str = Field(description="Name of the file or directory")
    type: Literal["dir", "file"] = Field(description="Kind of the entry")
    size: int = Field(description="Size in bytes")
    encoded: str | None = Field(None, description="Name in URL encoding, if it is not UTF-8")


Warnings = Annotated[
    list[str],
    Field(description="Warnings about the request, which was carried out all the same; absent if there are none"),
]


class WithWarnings(Message):
    """The result of a request, with warnings."""

    warnings: Warnings | SkipJsonSchema[None] = Field(None, json_schema_extra=without_default)


class Added(WithWarnings):
    """A task that was created."""

    id: int = Field(description="Number of the task")


class AddedMany(WithWarnings):
    """Tasks that were created."""

    ids: list[int] = Field(description="Numbers of the tasks, in the order in which they were sent")


class Token(BaseModel):
    """A token."""

    token: str = Field(description="Token, to be sent as it is")


class Shared(BaseModel):
    """A share token of a task."""

    token: str = Field(description="Token that shows the task and its files to anybody who has it")
    url: str = Field(description="Path of the task on this server, including the token")
    files_url: str = Field(description="Path of its files on this server, including the token")
    expires: float = Field(description="Expiry of the token, seconds since the epoch (UTC)")


class Counted(BaseModel):
    """A number of tasks."""

    total: int = Field(description="Number of tasks of all users")
    status: str = Field(description="Status of the counted tasks")


class Sample(BaseModel):
    """Resource use of a task at one moment."""

    timestamp: float = Field(description="Moment of the sample, seconds since the epoch (UTC)")
    cpu_percent: float = Field(description="Processor use in percent of one core")
    memory: int = Field(description="Memory in use, in bytes")
    memory_limit: int = Field(description="Limit on the memory, in bytes")
    network_rx: int = Field(description="Bytes received since the start")
    network_tx: int = Field(description="Bytes sent since the start")
    pids: int = Field(description="Number of processes and threads")


class NodeUsage(BaseModel):
    """Resources of one node."""

    name: str = Field(description="Name of the node")
    cpu: list[float] = Field(description="Cores: used, total", min_length=2, max_length=2)
    mem: list[int] = Field(description="Memory in bytes: used, total", min_length=2, max_length=2)
    disk: list[int] = Field(description="Disk in bytes: used, total", min_length=2, max_length=2)


class _Sums(BaseModel):
    cpu: float = Field(description="Sum of the cores that the tasks asked for")
    ram: float = Field(description="Sum of the memory that the tasks asked for, in GB")
    gpus: int = Field(description="Sum of the GPUs that the tasks asked for")
    core_seconds: float = Field(description="Sum of cores × seconds of each task; 3600 are one core hour")
    gb_seconds: float = Field(description="Sum of GB of memory × seconds of each task")
    gpu_seconds: float = Field(description="Sum of GPUs × seconds of each task")


class DayOut(_Sums):
    """Usage of one UTC day, by tasks that ended on it."""

    date: str = Field(description="Day in UTC, like `2026_11_24`")
    time: float = Field(description="Sum of the seconds that the tasks ran")


class BillOf(BaseModel):
    """Subject of a bill."""

    user: str = Field(description="Login of the user")
    project: str = Field(description="Id of the project")


class MonthOut(_Sums):
    """Usage of one month, by one user in one project."""

    id: BillOf = Field(alias="_id", description="User and project")
    totaltime: float = Field(description="Sum of the seconds that the tasks ran")


class MaintenanceOut(BaseModel):
    """Maintenance of a node or of the system."""

    node: str = Field(description="Name of the node; `all` for the whole system")
    status: Literal["on", "off"] = Field(description="Whether it is in maintenance")


class ListedNode(BaseModel):
    """A node, for operators."""

    name: str = Field(description="Name of the node")
    origin: str = Field(description="`configured`, `added` at run time, or `gone` with tasks still on it")
    state: str = Field(description="`ready`, `not ready`, `silent`, `draining`, `drained` or `not seen yet`")
    url: str | None = Field(description="Address of its Docker Engine")
    reason: str | None = Field(description="Reason why it is not ready, as a sentence")
    cpus: float = Field(description="Cores")
    cpus_used: float = Field(description="Cores in use")
    memory: int = Field(description="Memory in bytes")
    memory_used: int = Field(description="Memory in use, in bytes")
    gpus: int = Field(description="Number of GPUs")
    gpus_used: int = Field(description="Number of GPUs in use")
    tasks: int = Field(description="Number of tasks on it")
    version: str = Field(description="Version of its Docker Engine")
    seen_at: float | None = Field(description="Last answer of the node, seconds since the epoch (UTC)")
    labels: dict[str, str] = Field(description="Labels that tasks may require")


class AppTokenOut(BaseModel):
    """An application token, without its secret."""

    id: str = Field(description="Id of the application token")
    name: str = Field(description="Name of the application")
    date: float = Field(description="Creation of the token, seconds since the epoch (UTC)")


class AppTokenMade(BaseModel):
    """A new application token."""

    id: str = Field(description="Id of the application token")
    token: str = Field(description="Token for the application, shown only this once")
