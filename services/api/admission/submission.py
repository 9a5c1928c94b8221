"""Decide whether a task may enter, and make the task to store: pure."""

from __future__ import annotations

from services.api.admission import arrays, checked, container, dependencies, owners, requirements
from services.api.admission.checked import Checked
from services.api.wire.submission import MetaIn, TaskIn
from shared import errors
from shared.errors import FieldError
from shared.executors.types import Feature
from shared.lifecycle import TaskStatus
from shared.models.project import Project
from shared.models.task import Spec, Task, shape_of
from shared.models.user import User
from shared.rules import scripts
from shared.settings import Settings

_STATUSES = frozenset(TaskStatus)


def admit(
    sent: TaskIn,
    *,
    owner: User,
    settings: Settings,
    features: frozenset[Feature],
    now: float,
    project: Project | None = None,
) -> Task:
    """
    Return the task to store for what `owner` sent at `now`; its id is 0 until it gets a number. `project` is the one
    that `sent` names; None where it does not exist or none is named.

    Raises `errors.InvalidInput` with every rule that is broken.
    """
    task_fields = _task_fields(sent, owner, project, settings)
    spec_fields = _spec_fields(sent, owner, project, settings, features)
    problems = checked.problems([*task_fields.values(), *spec_fields.values()])
    problems += _unsupported(sent, settings)
    if problems:
        raise errors.InvalidInput(problems)
    values, spec = checked.values(task_fields), Spec(**checked.values(spec_fields))
    return Task(
        id=0,
        status_at=now,
        submitted_at=now,
        queued_at=now,
        spec=spec,
        shape=shape_of(spec),
        told=-1 if spec.notify_email else None,
        history=[{"at": now, "status": values["status"], "attempt": 0, "note": None}],
        **values,
    )


def _task_fields(sent: TaskIn, owner: User, project: Project | None, settings: Settings) -> dict[str, Checked[object]]:
    """Return the checked fields of `Task`."""
    return {
        "status": _status(sent),
        "user": owners.user(owner, settings),
        "project": owners.project_id(sent, owner, project),
        "array": arrays.array(sent, settings),
    }


def _spec_fields(
    sent: TaskIn, owner: User, project: Project | None, settings: Settings, features: frozenset[Feature]
) -> dict[str, Checked[object]]:
    """Return the checked fields of `Spec`."""
    meta = sent.meta or MetaIn()
    return {
        "name": (meta.name or "", []),
        "description": (meta.description or "", []),
        "tags": (meta.tags or [], []),
        "cpu": requirements.cpu(sent, settings),
        "ram": requirements.ram(sent, settings),
        "gpus": requirements.gpus(sent, settings, features),
        "labels": requirements.labels(sent),
        "ports": requirements.ports(sent, settings, features),
        "restarts": requirements.restarts(sent, settings),
        "lifespan": requirements.lifespan(sent, settings),
        "ticket_share": requirements.ticket_share(sent),
        "depends": dependencies.dependencies(sent),
        "uris": (sent.needs.uris or [], []),
        "image": container.image(sent, settings),
        "network": container.network(sent, settings, features),
        "volumes": container.volumes(sent, owner, project, settings, features),
        "tmpstorage": container.tmpstorage(sent, settings, features),
        "root": container.root(sent, owner, settings, features),
        "notify_email": owners.notify_email(sent, owner, settings),
        "cmd": _command(sent),
    }


def _status(sent: TaskIn) -> Checked[TaskStatus]:
    # Clients send back whole tasks with the status of the one they copied: anything but `created` means "run it".
    primary = sent.status.primary if sent.status else None
    if primary is not None and primary not in _STATUSES:
        rule = f"must be {TaskStatus.CREATED.value!r} or left out"
        return TaskStatus.PENDING, [FieldError("status.primary", rule)]
    return TaskStatus.CREATED if primary == TaskStatus.CREATED else TaskStatus.PENDING, []


def _command(sent: TaskIn) -> Checked[str]:
    problem = scripts.never_works(sent.command.cmd)
    return sent.command.cmd, [FieldError("command.cmd", problem)] if problem else []


def _unsupported(sent: TaskIn, settings: Settings) -> list[FieldError]:
    """Refuse fields of GO-Docker that do nothing here: they are never silently dropped. Their empty values are fine."""
    problems = []
    if sent.command.interactive:
        problems.append(FieldError("command.interactive", "interactive tasks are not supported; leave this field out"))
    if sent.needs.executor not in (None, "", settings.executor):
        problems.append(FieldError("requirements.executor", f"must be {settings.executor!r}, the only one here"))
    return problems
