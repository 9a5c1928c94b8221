"""Models of the task that the Web API shows; `wire.task` makes it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from services.api.wire import examples
from services.api.wire.fields import without_default


class Primary(StrEnum):
    """Main status of a task."""

    CREATED = "created"
    PENDING = "pending"
    RUNNING = "running"
    OVER = "over"
    ARCHIVED = "archived"


class Secondary(StrEnum):
    """Detail of the status of a task."""

    SUSPENDED = "suspended"
    SUSPEND_REQUESTED = "suspend requested"
    SUSPEND_REJECTED = "suspend rejected"
    RESUMED = "resumed"
    RESUME_REQUESTED = "resume requested"
    RESUME_REJECTED = "resume rejected"
    KILLED = "killed"
    KILL_REQUESTED = "kill requested"
    RESCHEDULED = "rescheduled"
    RESCHEDULE_REQUESTED = "reschedule requested"
    REJECTED_BY_SCHEDULER = "rejected by scheduler"
    QUOTA_REACHED = "quota reached"
    UNKNOWN = "unknown"


class ContainerState(StrEnum):
    """State of the container."""

    INITIALIZING = "initializing"
    READY = "ready"
    TERMINATED = "terminated"


class NotifyOut(BaseModel):
    """Mails about the task."""

    email: bool = Field(description="The owner gets a mail when the task starts and when it ends")


class MetaOut(BaseModel):
    """Texts that describe the task."""

    name: str = Field(description="Name of the task")
    description: str = Field(description="Anything to remember about the task")
    tags: list[str] = Field(description="Tags of the task")


class TaskUserOut(BaseModel):
    """Owner of the task, and the project that its usage is charged to."""

    id: str = Field(description="Login of the owner")
    uid: int = Field(description="User number that the task runs with")
    gid: int = Field(description="Group number that the task runs with")
    project: str = Field(description="Id of the project")


class ArrayOut(BaseModel):
    """The array of a parent task, or the place of a child in one."""

    values: str | None = Field(description="Indices of the children as they were sent; null for any other task")
    task_id: int | None = Field(description="Index of this child; null for any other task")
    nb_tasks: int = Field(description="Number of children")
    nb_tasks_over: int = Field(description="Number of children that are over")
    tasks: list[int] = Field(description="Ids of the first 10000 children")
    first_id: int | None = Field(description="Id of the first child; the others follow it without gaps")
    max_concurrent: int | None = Field(
        description="Maximum number of children that run at the same time; null: no limit"
    )


class DependsOut(BaseModel):
    """Tasks that must end before this one starts."""

    afterok: list[int] = Field(description="Ids of tasks that must end with exit code 0")
    afterany: list[int] = Field(description="Ids of tasks that must end in any way")
    afternotok: list[int] = Field(description="Ids of tasks that must fail")


class TmpStorageOut(BaseModel):
    """Temporary storage of the task."""

    size: int = Field(description="Size in bytes")
    path: str = Field(description="Path inside the container")


class RequirementsOut(BaseModel):
    """Resources that the task asked for, and the dynamic fields of the configuration."""

    model_config = ConfigDict(extra="allow")

    cpu: float = Field(description="Cores")
    ram: float = Field(description="Memory in GB (2^30 bytes)")
    gpus: int = Field(description="Number of GPUs")
    array: ArrayOut = Field(description="Array of the task, or its place in one")
    label: list[str] | None = Field(description="Labels that the node must or must not have")
    tasks: list[int] = Field(description="Ids of tasks that must end first, in any way; the same as `depends.afterany`")
    depends: DependsOut = Field(description="Tasks that must end first")
    ports: list[int] = Field(description="Ports of the container that are published")
    uris: list[str] = Field(description="Addresses in the task's file `godocker-uris.txt`")
    failure_policy: int = Field(description="Maximum number of restarts after a failure of the node")
    network: str | None = Field(description="Network of the container; null: none")
    tmpstorage: TmpStorageOut | None = Field(description="Temporary storage of the task")
    executor: str | None = Field(description="Executor that runs the task; null: not placed yet")
    maxlifespan: float | str | None = Field(
        description="Lifespan in seconds, after which the task is stopped; null: none of its own"
    )
    ticket_share: float | None = Field(description="Handicap of the task in fair share")


class VolumeOut(BaseModel):
    """A volume that is mounted."""

    name: str = Field(description="Name of the volume; `go-docker` is the directory of the task")
    acl: str = Field(description="`ro`: read only, `rw`: read and write")
    path: str = Field(description="Path on the node")
    mount: str = Field(description="Path inside the container")


class NodeName(BaseModel):
    """The node of a task."""

    Name: str = Field(description="Name of the node; `array` for the parent of an array")


class ExitState(BaseModel):
    """The end of a container."""

    ExitCode: int = Field(description="Exit code, the same as `status.exitcode`")


class ContainerMeta(BaseModel):
    """Node and exit code, where clients of GO-Docker look for them."""

    Node: NodeName | None = Field(None, description="Node of the task, once it runs")
    State: ExitState | None = Field(None, description="End of the container, once it is over")


class PortMapping(BaseModel):
    """A published port."""

    host: int = Field(description="Port of the node")
    container: int = Field(description="Port of the container")


class ContainerOut(BaseModel):
    """Container of the task."""

    image: str = Field(description="Docker image")
    volumes: list[VolumeOut] = Field(description="Volumes that are mounted")
    network: bool = Field(description="The container is connected to a network")
    id: str | None = Field(description="Name of the container; null: not placed yet")
    meta: ContainerMeta | None = Field(description="Node and exit code; null: it never ran")
    stats: None = Field(description="Always null; see `GET /task/{id}/monitor`")
    ports: list[str] = Field(description="Published ports of the node, as text")
    port_mapping: list[PortMapping] = Field(
        description="Published ports of the node, with the port of the container behind each"
    )
    urls: list[str] = Field(
        description="Address of each published port while the task is on its node, in the order of `ports`; empty if the "
        "node has no `public_address`"
    )
    root: bool = Field(description="The command runs as root")
    ip_address: str | None = Field(description="Address of the container, if known")
    status: ContainerState | None = Field(description="State of the container; null: there is no container")


class CommandOut(BaseModel):
    """Command of the task."""

    interactive: bool = Field(description="Always false")
    cmd: str = Field(description="Shell script, as it was sent")
    script: str = Field(description="Path of the script on the shared file system")


class FailureOut(BaseModel):
    """Failures of nodes that ran the task."""

    reason: list[str] = Field(description="Reason of each failure")
    nodes: list[str] = Field(description="Nodes that failed")
    count: int = Field(description="Number of failures")


class Status(BaseModel):
    """Status of a task. `date_running` is absent until it runs."""

    primary: Primary = Field(description="Main status of the task")
    secondary: Secondary | None = Field(
        description="Detail of `primary`. A task that is `rejected by scheduler` still waits: it cannot be placed yet"
    )
    exitcode: int | None = Field(
        description="Exit code of the command, 137 if it was killed; null: not over, or never ran"
    )
    reason: str | None = Field(description="Reason why the task waits, or how it ended, as a sentence")
    date_running: float | SkipJsonSchema[None] = Field(
        None,
        description="Start of the command, seconds since the epoch (UTC); absent before it runs",
        json_schema_extra=without_default,
    )
    date_over: float | None = Field(description="End of the task, seconds since the epoch (UTC); null: not over")
    duration: float | None = Field(description="Seconds that the command ran; null: not over, or never ran")
    failure: FailureOut = Field(description="Failures of nodes that ran the task")


class TaskOut(BaseModel):
    """A task."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [examples.RUNNING, examples.FAILED]})

    id: int = Field(description="Number of the task")
    parent_task_id: int | None = Field(description="Number of the array that the task is a child of")
    date: float = Field(description="Submission of the task, seconds since the epoch (UTC)")
    notify: NotifyOut = Field(description="Mails about the task")
    meta: MetaOut = Field(description="Name, description and tags")
    user: TaskUserOut = Field(description="Owner and project")
    requirements: RequirementsOut = Field(description="Resources that the task asked for")
    container: ContainerOut = Field(description="Container of the task")
    command: CommandOut = Field(description="Command of the task")
    status: Status = Field(description="Status of the task, with its reason")


class TaskStatusOut(BaseModel):
    """Status of one task."""

    id: int = Field(description="Number of the task")
    status: Status = Field(description="Status of the task, with its reason")


class TaskPage(BaseModel):
    """A page of finished tasks, for tables that load on demand."""

    draw: int = Field(description="Number that was sent with the request")
    data: list[TaskOut] = Field(description="Tasks of the page")
    recordsTotal: int = Field(description="Number of finished tasks")
    recordsFiltered: int = Field(description="Number of finished tasks that match the filter")
