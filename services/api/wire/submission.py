"""Models of the tasks that a client may send."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from services.api.wire.fields import (
    Access,
    Amount,
    Count,
    Ids,
    Line,
    NoBool,
    Port,
    Script,
    ShortLine,
    Text,
    TextOrNumber,
)
from shared.models.project import DEFAULT


def _like(*examples: Any) -> ConfigDict:
    # Clients send whole documents back. Fields that the system fills are ignored.
    return ConfigDict(extra="ignore", json_schema_extra={"examples": list(examples)})


Name = Annotated[Line, Field(max_length=255)]
Tags = Annotated[list[Annotated[Line, Field(min_length=1, max_length=100)]], Field(max_length=100)]
Labels = Annotated[list[Line], Field(max_length=100)]
Ports = Annotated[list[Port], Field(max_length=100)]
Uris = Annotated[list[Annotated[Line, Field(min_length=1, max_length=4096)]], Field(max_length=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class NotifyIn(_Part):
    """Mails about the task."""

    model_config = _like({"email": True})

    email: bool | None = Field(None, description="Send the owner a mail when the task starts and when it ends")


class MetaIn(_Part):
    """Texts that describe the task; the system does not use them."""

    model_config = _like({"name": "hello", "tags": ["first"]})

    name: Name | None = Field(None, description="Name of the task, one line")
    description: Text | None = Field(None, description="Anything to remember about the task")
    tags: Tags | None = Field(None, description="Tags to kill or delete tasks together")


class TaskUserIn(_Part):
    """Owner and project of the task."""

    model_config = _like({"project": "genomics"})

    id: ShortLine | None = Field(None, description="Login of the owner; only an admin may name somebody else")
    project: ShortLine | None = Field(None, description="Project to charge the usage to; default: `default`")


class ArrayIn(_Part):
    """An array: one child task for each index, with the same command and requirements."""

    model_config = _like({"values": "1:100", "max_concurrent": 10})

    values: TextOrNumber | None = Field(
        None,
        description="Indices of the children: a number (`100` is 1 to 100), `start:end`, `start:end:step`, or a list of "
        "indices and ranges like `3,7-9,20:40:5`. The end is included where a step lands on it",
        examples=["1:100", "0:20:5", "3,7-9,20:40:5"],
    )
    max_concurrent: Count | None = Field(
        None, description="Maximum number of children that run at the same time; 0 or null: no limit"
    )


class DependsIn(_Part):
    """Tasks that must end before this one starts."""

    model_config = _like({"afterok": [7]})

    afterok: Ids | None = Field(None, description="Ids of tasks that must end with exit code 0")
    afterany: Ids | None = Field(None, description="Ids of tasks that must end in any way")
    afternotok: Ids | None = Field(None, description="Ids of tasks that must fail: end in any way but with exit code 0")


class TmpStorageIn(_Part):
    """Temporary storage for this task only, removed with its container."""

    model_config = _like({"size": "10G", "path": "/scratch"})

    size: TextOrNumber | None = Field(None, description="Size like `500M` or `10G`, or a number of bytes; 1M to 1024T")
    path: Line | None = Field(None, description="Absolute path inside the container, like `/scratch`")


class RequirementsIn(_Part):
    """Resources that the task needs, and conditions on where and when it runs."""

    model_config = _like({"cpu": 2, "ram": 4})

    cpu: Amount | None = Field(None, description="Cores; fractions are allowed, at least 0.01", examples=[1])
    ram: Amount | None = Field(None, description="Memory in GB (2^30 bytes), at least 0.006", examples=[2])
    gpus: Count | None = Field(None, description="Number of GPUs, at most 64")
    array: ArrayIn | None = Field(None, description="Array of tasks, one for each index")
    label: Labels | None = Field(
        None,
        description="Labels that the node must have (`storage==ssd`) or must not have (`storage!=ssd`)",
        examples=[["storage==ssd"]],
    )
    tasks: Ids | None = Field(None, description="Ids of tasks that must end first, in any way; see also `depends`")
    depends: DependsIn | None = Field(None, description="Tasks that must end first, and how")
    ports: Ports | None = Field(
        None,
        description="Ports of the container to publish on the node, at most 32; publishing connects it to the network",
        examples=[[8888]],
    )
    uris: Uris | None = Field(
        None,
        description="Addresses for the task's file `godocker-uris.txt`, one per line; nothing is downloaded",
    )
    failure_policy: Count | None = Field(
        None,
        description="Maximum number of restarts after a failure of the node; 0: none. A command that fails is not "
        "restarted. The configuration sets the limit",
    )
    network: ShortLine | None = Field(
        None, description="Network to join: `public`, `user` (your tasks only) or `project` (its tasks only)"
    )
    tmpstorage: TmpStorageIn | None = Field(None, description="Temporary storage for this task only")
    executor: ShortLine | None = Field(None, description="Executor that must run the task; default: the configured one")
    maxlifespan: TextOrNumber | None = Field(
        None,
        description="Lifespan, after which the task is stopped: seconds, or like `30m`, `12h`, `6d`. A task with a lifespan "
        "may start earlier, by backfill",
        examples=["6h"],
    )
    ticket_share: Annotated[float, Field(allow_inf_nan=False), NoBool] | None = Field(
        None, description="Handicap of the task in fair share, 0 to 1000000; a higher value runs later"
    )


_NO_REQUIREMENTS = RequirementsIn()


class TaskVolumeIn(_Part):
    """A volume of the configuration or the project to mount in the container."""

    model_config = _like({"name": "home", "acl": "rw"})

    name: Annotated[Line, Field(min_length=1, max_length=64, description="Name of the volume, see `GET /config`")]
    acl: Access | None = Field(None, description="`ro`: read only, `rw`: read and write; default: as offered")


class ContainerIn(_Part):
    """Image, volumes and network of the container."""

    model_config = _like({"image": "busybox:latest"})

    image: Annotated[str, Field(min_length=1, max_length=512, description="Docker image, like `busybox:latest`")]
    volumes: Annotated[list[TaskVolumeIn], Field(max_length=100)] | None = Field(None, description="Volumes to mount")
    network: bool | None = Field(None, description="Connect the container to the network; default: false")
    root: bool | None = Field(None, description="Run as root, where the configuration allows it; default: false")


class CommandIn(_Part):
    """Command that the task runs."""

    model_config = _like({"cmd": "echo hello"})

    interactive: bool | None = Field(None, description="Interactive tasks are not supported: false, null or left out")
    cmd: Annotated[
        Script,
        Field(
            description="Shell script to run. A first line like `#!/bin/bash` selects another interpreter of the image"
        ),
    ]


class StatusIn(_Part):
    """Initial state of the task."""

    model_config = _like({"primary": "created"})

    primary: Annotated[Line, Field(max_length=32)] | None = Field(
        None, description="`created` holds the task back until `GET /task/{id}/pending`; anything else starts it"
    )


class TaskIn(_Part):
    """A task to create. Fields that the system fills are ignored; null stands for the default."""

    model_config = _like(
        {
            "meta": {"name": "hello", "description": "says hello", "tags": ["first"]},
            "requirements": {"cpu": 1, "ram": 1},
            "container": {"image": "busybox:latest", "volumes": [], "network": False, "root": False},
            "command": {"interactive": False, "cmd": "echo hello from task $GODOCKER_JID"},
        }
    )

    meta: MetaIn | None = Field(None, description="Name, description and tags")
    user: TaskUserIn | None = Field(None, description="Owner and project; default: the caller and `default`")
    notify: NotifyIn | None = Field(None, description="Mails about the task; default: none")
    requirements: RequirementsIn | None = Field(None, description="Resources; default: those of `GET /config`")
    container: ContainerIn = Field(description="Image, volumes, network")
    command: CommandIn = Field(description="Command to run")
    status: StatusIn | None = Field(None, description="Initial state of the task; default: pending")

    @property
    def needs(self) -> RequirementsIn:
        """The requirements, which may be empty."""
        return self.requirements or _NO_REQUIREMENTS

    @property
    def project_id(self) -> str:
        return (self.user.project if self.user else None) or DEFAULT
