"""Decide whether a task may enter, and make the document that is stored: pure, with every broken rule named at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from services.api.admission import arrays, images, requirements
from services.api.wire import submission
from services.api.wire import task as wire
from shared import errors
from shared.errors import FieldError
from shared.executors.types import Feature
from shared.lifecycle import TaskStatus
from shared.models.project import DEFAULT, Project
from shared.models.task import Spec, Task, TaskUser, TaskVolume, shape_of
from shared.models.user import USER_ID, User, highest_number
from shared.rules import scripts
from shared.settings import Settings, Volume
from shared.units import addresses

_STATUSES = frozenset(TaskStatus)


def admit(
    sent: submission.TaskIn,
    *,
    owner: User,
    settings: Settings,
    features: frozenset[Feature],
    now: float,
    project: Project | None = None,
) -> Task:
    """
    The task to store for what `owner` sent at `now`; its id is 0 until it gets a number. `project` is the one that `sent`
    names; None where there is none of that name, or none is named.

    Raises `errors.InvalidInput` with every rule that is broken.
    """
    volumes = _offered(settings, project)
    problems = [
        *requirements.problems(sent, owner=owner, settings=settings, features=features),
        *_mail_problems(sent, owner, settings),
        *_user_problems(owner, sent, project, settings),
        *_resource_problems(sent, settings),
        *_image_problems(sent, settings),
        *_volume_problems(sent, owner, settings, features, volumes),
        *_root_problems(sent, owner, settings, features),
        *_status_problems(sent),
        *_script_problems(sent),
    ]
    if problems:
        raise errors.InvalidInput(problems)
    spec = _spec(sent, owner, settings, volumes)
    status = TaskStatus.CREATED if _wants_created(sent) else TaskStatus.PENDING
    return Task(
        id=0,
        status=status,
        status_at=now,
        submitted_at=now,
        queued_at=now,
        user=TaskUser(id=owner.id, uid=owner.uid, gid=owner.gid, groups=_groups(owner, settings), home=owner.home),
        project=project.id if project else DEFAULT,
        spec=spec,
        array=arrays.wanted(sent),
        shape=shape_of(spec),
        told=-1 if spec.notify_email else None,
        history=[{"at": now, "status": status, "attempt": 0, "note": None}],
    )


def _groups(owner: User, settings: Settings) -> list[int]:
    """The further groups of a task: of its owner's those that the executor takes, told at the owner's login."""
    return [number for number in owner.sgids if number <= highest_number(settings.executor)]


def wanted_project(sent: submission.TaskIn) -> str:
    """The id of the project that a task is to be in."""
    return (sent.user.project if sent.user else None) or DEFAULT


def _offered(settings: Settings, project: Project | None) -> Mapping[str, Volume]:
    """The volumes that may be asked for by name: the configured ones, and those of the project beside them."""
    offered = {volume.name: volume for volume in settings.volumes}
    for own in project.volumes if project else []:
        # The configuration may have come to use a name or a place after the project did.
        volume = Volume(**own.model_dump())
        if volume.name not in offered and volume.target not in {other.target for other in offered.values()}:
            offered[volume.name] = volume
    return offered


def _spec(sent: submission.TaskIn, owner: User, settings: Settings, volumes: Mapping[str, Volume]) -> Spec:
    meta = sent.meta or submission.MetaIn()
    wants = sent.requirements or submission.RequirementsIn()
    return Spec(
        name=meta.name or "",
        description=meta.description or "",
        tags=meta.tags or [],
        cpu=wants.cpu or settings.defaults_cpu,
        ram=wants.ram or settings.defaults_ram,
        image=sent.container.image,
        volumes=_volumes(sent, owner, volumes),
        **requirements.wanted(sent),
        root=bool(sent.container.root),
        uris=wants.uris or [],
        notify_email=_wants_mail(sent),
        cmd=sent.command.cmd,
    )


def _volumes(sent: submission.TaskIn, owner: User, offered: Mapping[str, Volume]) -> list[TaskVolume]:
    found = []
    for _, asked in _asked_volumes(sent):
        volume = offered[asked.name]
        path = (volume.path or owner.home or "").replace("$USERID", owner.id)
        found.append(TaskVolume(name=asked.name, acl=asked.acl or volume.acl, path=path, mount=volume.target))
    return found


def _asked_volumes(sent: submission.TaskIn) -> Iterator[tuple[int, submission.TaskVolumeIn]]:
    """The volumes that were asked for, numbered. A copied task brings its directory along, which every task gets anyway."""
    for number, asked in enumerate(sent.container.volumes or []):
        if asked.name != wire.DIRECTORY_VOLUME:
            yield number, asked


def _wants_created(sent: submission.TaskIn) -> bool:
    return bool(sent.status and sent.status.primary == TaskStatus.CREATED)


# --- the rules --------------------------------------------------------------------


def _wants_mail(sent: submission.TaskIn) -> bool:
    return bool(sent.notify and sent.notify.email)


def _mail_problems(sent: submission.TaskIn, owner: User, settings: Settings) -> list[FieldError]:
    if not _wants_mail(sent):
        return []
    if settings.smtp_host is None:
        return [FieldError("notify.email", "no mail server is configured here: leave it out")]
    if not owner.email or not addresses.is_address(owner.email):
        return [FieldError("notify.email", f"{owner.id} has no email address that mail can be sent to: set one first")]
    return []


def _user_problems(
    owner: User, sent: submission.TaskIn, project: Project | None, settings: Settings
) -> list[FieldError]:
    problems = []
    if not USER_ID.fullmatch(owner.id):
        problems.append(FieldError("user.id", "must be a plain account name"))
    most = highest_number(settings.executor)
    for name, number in (("uid", owner.uid), ("gid", owner.gid)):
        if number > most:
            problems.append(
                FieldError("user.id", f"has {name} {number}, above {most}, the highest that a task can run with")
            )
    wanted = wanted_project(sent)
    if wanted != DEFAULT and (project is None or not project.has(owner.id)):
        problems.append(FieldError("user.project", f"{owner.id} is not a member of a project called {wanted}"))
    return problems


def _resource_problems(sent: submission.TaskIn, settings: Settings) -> list[FieldError]:
    wants = sent.requirements or submission.RequirementsIn()
    problems = []
    if wants.cpu is not None and wants.cpu > settings.max_cpu:
        problems.append(FieldError("requirements.cpu", f"must be at most {settings.max_cpu:g}"))
    if wants.cpu is not None and wants.cpu < 0.01:
        problems.append(FieldError("requirements.cpu", "must be at least 0.01"))
    if wants.ram is not None and wants.ram > settings.max_ram:
        problems.append(FieldError("requirements.ram", f"must be at most {settings.max_ram:g} GB"))
    if wants.ram is not None and wants.ram < 0.006:
        problems.append(FieldError("requirements.ram", "must be at least 0.006 GB, the least an engine takes"))
    return problems


def _image_problems(sent: submission.TaskIn, settings: Settings) -> list[FieldError]:
    image = sent.container.image
    if problem := images.problem_of(image, allowed_registries=settings.allowed_registries):
        return [FieldError("container.image", problem)]
    offered = [offer.url for offer in settings.default_images]
    if not settings.allow_user_images and image not in offered:
        return [FieldError("container.image", f"must be one of: {', '.join(offered) or 'none are configured'}")]
    return []


def _volume_problems(
    sent: submission.TaskIn,
    owner: User,
    settings: Settings,
    features: frozenset[Feature],
    offered: Mapping[str, Volume],
) -> list[FieldError]:
    problems = []
    seen: set[str] = set()
    for number, asked in _asked_volumes(sent):
        path = f"container.volumes.{number}"
        volume = offered.get(asked.name)
        if volume is None:
            known = ", ".join(sorted(offered)) or "none are configured"
            problems.append(FieldError(f"{path}.name", f"must be one of: {known}"))
            continue
        if asked.name in seen:
            problems.append(FieldError(f"{path}.name", "is asked for twice"))
        seen.add(asked.name)
        if asked.acl == "rw" and volume.acl != "rw":
            problems.append(FieldError(f"{path}.acl", f"{asked.name} is read only (ro)"))
        if volume.path is None and not (owner.home or "").startswith("/"):
            problems.append(FieldError(f"{path}.name", f"{owner.id} has no home directory"))
        if asked.name != "home" and Feature.VOLUMES not in features:
            problems.append(FieldError(f"{path}.name", f"the {settings.executor} executor has no volumes but home"))
    return problems


def _root_problems(
    sent: submission.TaskIn, owner: User, settings: Settings, features: frozenset[Feature]
) -> list[FieldError]:
    if not sent.container.root:
        return []
    if owner.guest and not settings.guest_allow_root:
        return [FieldError("container.root", "is not allowed to guests here")]
    if not settings.allow_root:
        return [FieldError("container.root", "is not allowed here")]
    if Feature.ROOT not in features:
        return [FieldError("container.root", f"the {settings.executor} executor has no root tasks")]
    return []


def _status_problems(sent: submission.TaskIn) -> list[FieldError]:
    # Clients send back whole tasks, with the status of the one they copied: anything but `created` means "run it".
    primary = sent.status.primary if sent.status else None
    if primary is not None and primary not in _STATUSES:
        return [FieldError("status.primary", f"must be {TaskStatus.CREATED.value!r} or left out")]
    return []


def _script_problems(sent: submission.TaskIn) -> list[FieldError]:
    problem = scripts.never_works(sent.command.cmd)
    return [FieldError("command.cmd", problem)] if problem else []
