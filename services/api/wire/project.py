"""Models of a project in the Web API, and the changes that a sender may make."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from services.api.wire.fields import WINDOW, Access, Line, Login, Priority, Quota, Text
from shared import errors
from shared import settings as settings_module
from shared.errors import FieldError
from shared.models.project import Project, ProjectVolume
from shared.settings import Settings
from shared.wording import validation


def _each_once(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


class _Part(BaseModel):
    # Clients send whole documents back: ignore fields that are not listed.
    model_config = ConfigDict(extra="ignore")


VolumeMount = Annotated[Line, Field(max_length=1024)]


class ProjectVolumeIn(_Part):
    """A directory of the hosts that tasks of the project may mount."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"name": "genomes", "path": "/srv/genomes"}]}
    )

    name: Annotated[Line, Field(min_length=1, max_length=64, description="Name that tasks use")]
    path: Annotated[
        Line,
        Field(
            min_length=1,
            max_length=1024,
            description="Absolute path on the nodes; `$USERID` stands for the owner of the task",
        ),
    ]
    mount: VolumeMount | None = Field(None, description="Path inside the container; default: the same as `path`")
    acl: Access = Field("ro", description="`ro`: read only, `rw`: tasks may write")


Members = Annotated[list[Login], Field(max_length=1000), AfterValidator(_each_once)]


ProjectVolumes = Annotated[list[ProjectVolumeIn], Field(max_length=20)]


class ProjectChange(_Part):
    """A project to change. Its owner may change `description` and `members`, an admin every field."""

    description: Text | None = Field(None, description="Purpose of the project")
    members: Members | None = Field(None, description="Logins of the members")
    owner: Login | None = Field(None, description="Login of the owner")
    prio: Priority | None = Field(None, description="Priority in fair share, 0 to 100; 50 is usual")
    quota_time: Quota | None = Field(None, description=f"Limit on the seconds that its tasks run {WINDOW}")
    quota_cpu: Quota | None = Field(None, description=f"Limit on the sum of cores that its tasks ask for {WINDOW}")
    quota_ram: Quota | None = Field(None, description=f"Limit on the sum of GB that its tasks ask for {WINDOW}")
    quota_gpu: Quota | None = Field(None, description=f"Limit on the sum of GPUs that its tasks ask for {WINDOW}")
    volumes: ProjectVolumes | None = Field(None, description="Directories that its tasks may mount")


class ProjectIn(ProjectChange):
    """A project to create."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"id": "genomics", "description": "sequencing", "owner": "alice", "members": ["alice", "bob"]}]
        },
    )

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="Id of the project")]


class ProjectOut(BaseModel):
    """A project."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(description="Id of the project")
    description: str = Field(description="Purpose of the project")
    owner: str | None = Field(description="Login of the owner")
    members: list[str] = Field(description="Logins of the members")
    prio: int = Field(description="Priority in fair share, 0 to 100")
    quota_time: float = Field(description=f"Limit on the seconds that its tasks run {WINDOW}")
    quota_cpu: float = Field(description=f"Limit on the sum of cores that its tasks ask for {WINDOW}")
    quota_ram: float = Field(description=f"Limit on the sum of GB that its tasks ask for {WINDOW}")
    quota_gpu: float = Field(description=f"Limit on the sum of GPUs that its tasks ask for {WINDOW}")
    volumes: list[dict[str, Any]] = Field(description="Directories that its tasks may mount")


_OWNER_FIELDS = frozenset({"description", "members"})
_ADMIN_FIELDS = frozenset(
    {*_OWNER_FIELDS, "owner", "prio", "quota_time", "quota_cpu", "quota_ram", "quota_gpu", "volumes"}
)


def shown(project: Project) -> dict[str, Any]:
    return project.model_dump(exclude={"usage_since", "created_at"})


def changes(sent: ProjectChange, settings: Settings, *, by_admin: bool) -> dict[str, Any]:
    """
    Return the stored fields that `sent` changes, restricted to those the sender may change. Raises
    `errors.InvalidInput`.
    """
    allowed = _ADMIN_FIELDS if by_admin else _OWNER_FIELDS
    fields = {
        name: value
        for name, value in sent.model_dump(include=set(allowed & sent.model_fields_set)).items()
        if value is not None
    }
    if "volumes" in fields:
        fields["volumes"] = [volume.model_dump() for volume in _volumes(sent.volumes or [], settings)]
    return fields


def _volumes(sent: list[ProjectVolumeIn], settings: Settings) -> list[ProjectVolume]:
    """Return the volumes, checked by the rules for configured ones, whose names and mounts are taken."""
    names = {volume.name for volume in settings.volumes}
    targets = {volume.target for volume in settings.volumes}
    volumes = []
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
        volumes.append(ProjectVolume(**volume.model_dump()))
    return volumes
