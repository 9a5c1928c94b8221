"""A project as the Web API shows it, and what of it may be sent."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from services.api.wire.fields import Login, Priority, Quota
from services.api.wire.submission import Line
from shared import errors, validation
from shared import settings as settings_module
from shared.errors import FieldError
from shared.models.project import Project, ProjectVolume
from shared.settings import Settings


def _each_once(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


class _Part(BaseModel):
    # Clients send whole documents back: what is not named here is ignored.
    model_config = ConfigDict(extra="ignore")


class VolumeIn(_Part):
    """A directory of the hosts for the project's tasks. `$USERID` in `path` is the task's user."""

    name: Annotated[Line, Field(min_length=1, max_length=64)]
    path: Annotated[Line, Field(min_length=1, max_length=1024)]
    mount: Annotated[Line, Field(max_length=1024)] | None = None
    acl: Annotated[str, Field(pattern=r"^(ro|rw)$")] = "ro"


Description = Annotated[str, Field(max_length=10_000)]
Members = Annotated[list[Login], Field(max_length=1000), AfterValidator(_each_once)]


class ProjectChange(_Part):
    """A project to change. Its owner may change `description` and `members`, an admin all that is named here."""

    description: Description | None = None
    members: Members | None = None
    owner: Login | None = None
    prio: Priority | None = None
    quota_time: Quota | None = None
    quota_cpu: Quota | None = None
    quota_ram: Quota | None = None
    quota_gpu: Quota | None = None
    volumes: Annotated[list[VolumeIn], Field(max_length=20)] | None = None


class ProjectIn(ProjectChange):
    """A project to create."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"id": "genomics", "description": "sequencing", "owner": "alice", "members": ["alice", "bob"]}]
        },
    )

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class ProjectOut(BaseModel):
    """A project."""

    model_config = ConfigDict(extra="allow")

    id: str
    description: str
    owner: str | None
    members: list[str]
    prio: int
    quota_time: float
    quota_cpu: float
    quota_ram: float
    quota_gpu: float
    volumes: list[dict[str, Any]]


_OF_OWNER = frozenset({"description", "members"})
_OF_ADMIN = frozenset({*_OF_OWNER, "owner", "prio", "quota_time", "quota_cpu", "quota_ram", "quota_gpu", "volumes"})


def shown(project: Project) -> dict[str, Any]:
    return project.model_dump(exclude={"usage_since", "created_at"})


def changes(sent: ProjectChange, settings: Settings, *, by_admin: bool) -> dict[str, Any]:
    """The fields of the stored project that `sent` sets; only those that the sender may. Raises `errors.InvalidInput`."""
    allowed = _OF_ADMIN if by_admin else _OF_OWNER
    fields = {
        name: value
        for name, value in sent.model_dump(include=set(allowed & sent.model_fields_set)).items()
        if value is not None
    }
    if "volumes" in fields:
        fields["volumes"] = [volume.model_dump() for volume in _volumes(sent.volumes or [], settings)]
    return fields


def _volumes(sent: list[VolumeIn], settings: Settings) -> list[ProjectVolume]:
    """The volumes, by the rules of those that are configured, whose names and places in the container are taken."""
    names = {volume.name for volume in settings.volumes}
    targets = {volume.target for volume in settings.volumes}
    found = []
    for number, volume in enumerate(sent):
        try:
            checked = settings_module.Volume(**volume.model_dump())
        except ValidationError as error:
            broken = validation.problems(error.errors(), settings_module.Volume)
            path = f"volumes.{number}"
            raise errors.InvalidInput(
                [FieldError(f"{path}.{one.path}" if one.path else path, one.rule) for one in broken]
            ) from None
        if checked.name in names or checked.target in targets:
            raise errors.InvalidInput.of(f"volumes.{number}", "another volume has this name or mount")
        names.add(checked.name)
        targets.add(checked.target)
        found.append(ProjectVolume(**volume.model_dump()))
    return found
