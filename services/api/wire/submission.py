"""What a client may send to create a task."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_ALLOWED_IN_TEXT = "\n\r\t"


def _no_bool(value: Any) -> Any:
    # Python's bool is an int, and true is not a number of cores.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _one_line(text: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise ValueError("must be one line without control characters")
    return text


def _plain_text(text: str) -> str:
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in _ALLOWED_IN_TEXT for c in text):
        raise ValueError("must not hold control characters")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return text


Line = Annotated[str, AfterValidator(_one_line)]
#: Numbers may come as strings: clients of the original send them so.
Amount = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=1_000_000)]
TaskId = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=2**53)]
Ids = Annotated[list[TaskId], Field(max_length=1000)]


class _Part(BaseModel):
    # Clients send whole documents back, with fields that are ours to fill: ignored.
    model_config = ConfigDict(extra="ignore")


class NotifyIn(_Part):
    email: bool | None = None


class MetaIn(_Part):
    name: Annotated[Line, Field(max_length=255)] | None = None
    description: Annotated[str, Field(max_length=10_000), AfterValidator(_plain_text)] | None = None
    tags: Annotated[list[Annotated[Line, Field(min_length=1, max_length=100)]], Field(max_length=100)] | None = None


class UserIn(_Part):
    id: Annotated[Line, Field(max_length=64)] | None = None
    project: Annotated[Line, Field(max_length=64)] | None = None


class ArrayIn(_Part):
    """`values` is `start:end:step`, `start:end`, or how many. At most `max_concurrent` run at a time; 0 for any number."""

    values: Annotated[str | int, BeforeValidator(_no_bool)] | None = None
    max_concurrent: Count | None = None


class DependsIn(_Part):
    """Ids of tasks that have to be over before: with exit code 0, in any way, in any other way than with exit code 0."""

    afterok: Ids | None = None
    afterany: Ids | None = None
    afternotok: Ids | None = None


class TmpStorageIn(_Part):
    size: Annotated[str | int, BeforeValidator(_no_bool)] | None = None
    path: str | None = None


class RequirementsIn(_Part):
    """Cores, memory in GB, and what else the task needs."""

    cpu: Amount | None = None
    ram: Amount | None = None
    gpus: Count | None = None
    array: ArrayIn | None = None
    label: Annotated[list[Line], Field(max_length=100)] | None = None
    tasks: Ids | None = None
    depends: DependsIn | None = None
    ports: Annotated[list[Annotated[Count, Field(ge=1, le=65535)]], Field(max_length=100)] | None = None
    uris: Annotated[list[Annotated[Line, Field(min_length=1, max_length=4096)]], Field(max_length=10_000)] | None = None
    failure_policy: Count | None = None
    network: Annotated[Line, Field(max_length=64)] | None = None
    tmpstorage: TmpStorageIn | None = None
    executor: Annotated[Line, Field(max_length=64)] | None = None
    maxlifespan: Annotated[str | int, BeforeValidator(_no_bool)] | None = None
    ticket_share: Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)] | None = None


class VolumeIn(_Part):
    name: Annotated[Line, Field(min_length=1, max_length=64)]
    acl: Annotated[str, Field(pattern=r"^(ro|rw)$")] | None = None


class ContainerIn(_Part):
    image: Annotated[str, Field(min_length=1, max_length=512)]
    volumes: Annotated[list[VolumeIn], Field(max_length=100)] | None = None
    network: bool | None = None
    root: bool | None = None


class CommandIn(_Part):
    interactive: bool | None = None
    cmd: Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]


class StatusIn(_Part):
    primary: Annotated[str, Field(max_length=32)] | None = None


class TaskIn(_Part):
    """A task to create. Fields that the system fills itself are ignored; null stands for the default."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "meta": {"name": "hello", "description": "says hello", "tags": ["first"]},
                    "requirements": {"cpu": 1, "ram": 1},
                    "container": {"image": "busybox:latest", "volumes": [], "network": False, "root": False},
                    "command": {"interactive": False, "cmd": "echo hello from task $GODOCKER_JID"},
                }
            ]
        },
    )

    meta: MetaIn | None = None
    user: UserIn | None = None
    notify: NotifyIn | None = None
    requirements: RequirementsIn | None = None
    container: ContainerIn
    command: CommandIn
    status: StatusIn | None = None
