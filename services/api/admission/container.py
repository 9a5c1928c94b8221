"""Check the container of a sent task, from image to volumes: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from services.api.admission import images
from services.api.admission.checked import Checked
from services.api.wire.fields import DIRECTORY_VOLUME
from services.api.wire.submission import TaskIn, TaskVolumeIn
from shared.errors import FieldError
from shared.executors.types import Feature
from shared.models.project import DEFAULT, Project
from shared.models.task import Network, TaskVolume, TmpStorage
from shared.models.user import User
from shared.settings import Settings, Volume
from shared.units import sizes

MIN_TMPSTORAGE, MAX_TMPSTORAGE = 1024 * 1024, 2**50  #: bytes

_PLAIN_PATH = re.compile(r"^(/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){1,8}\Z")
_SYSTEM_PATHS = (
    *("/proc", "/dev", "/sys", "/bin", "/etc", "/usr", "/lib", "/lib64", "/sbin"),
    *("/mnt/go-docker", "/mnt/god-data"),
)


def image(sent: TaskIn, settings: Settings) -> Checked[str]:
    """Return the image reference."""
    asked = sent.container.image
    if problem := images.problem_of(asked, allowed_registries=settings.allowed_registries):
        return asked, [FieldError("container.image", problem)]
    offered = [default.url for default in settings.default_images]
    if not settings.allow_user_images and asked not in offered:
        return asked, [FieldError("container.image", f"must be one of: {', '.join(offered) or 'none are configured'}")]
    return asked, []


def network(sent: TaskIn, settings: Settings, features: frozenset[Feature]) -> Checked[Network | None]:
    """
    Return the network to join. `container.network` switches it on, `requirements.network` names it; ports, and the name
    of a private network, switch it on by themselves.
    """
    name = sent.needs.network
    is_private = name in (Network.USER, Network.PROJECT)
    if name and name not in {*Network}:
        return None, [FieldError("requirements.network", f"must be one of: {', '.join(Network)}")]
    if is_private and Feature.NETWORKS not in features:
        return None, [FieldError("requirements.network", f"the {settings.executor} executor has only {Network.PUBLIC}")]
    if name == Network.PROJECT and sent.project_id == DEFAULT:
        rule = "must be of a project: set user.project, the default one has no network"
        return None, [FieldError("requirements.network", rule)]
    if name is not None and is_private:
        return Network(name), []
    return Network.PUBLIC if sent.container.network or sent.needs.ports else None, []


def tmpstorage(sent: TaskIn, settings: Settings, features: frozenset[Feature]) -> Checked[TmpStorage | None]:
    """Return the temporary storage; None where none is asked for."""
    asked = sent.needs.tmpstorage
    if asked is None or not (asked.size or asked.path):
        return None, []
    problems, size, path = [], 0, asked.path or ""
    if Feature.TMPSTORAGE not in features:
        problems.append(FieldError("requirements.tmpstorage", f"the {settings.executor} executor has none"))
    try:
        size = sizes.parse(asked.size)
    except ValueError as error:
        problems.append(FieldError("requirements.tmpstorage.size", str(error)))
    else:
        if not MIN_TMPSTORAGE <= size <= MAX_TMPSTORAGE:
            problems.append(FieldError("requirements.tmpstorage.size", "must be between 1M and 1024T"))
    if not _PLAIN_PATH.match(path) or any(f"{path}/".startswith(f"{taken}/") for taken in _SYSTEM_PATHS):
        rule = "must be an absolute, plain path that is not the system's"
        problems.append(FieldError("requirements.tmpstorage.path", rule))
    return TmpStorage(size=size, path=path), problems


def root(sent: TaskIn, owner: User, settings: Settings, features: frozenset[Feature]) -> Checked[bool]:
    """Return whether the command runs as root."""
    if not sent.container.root:
        return False, []
    if owner.guest and not settings.guest_allow_root:
        return True, [FieldError("container.root", "is not allowed to guests here")]
    if not settings.allow_root:
        return True, [FieldError("container.root", "is not allowed here")]
    if Feature.ROOT not in features:
        return True, [FieldError("container.root", f"the {settings.executor} executor has no root tasks")]
    return True, []


def volumes(
    sent: TaskIn, owner: User, project: Project | None, settings: Settings, features: frozenset[Feature]
) -> Checked[list[TaskVolume]]:
    """Return the volumes to mount, with their paths for this owner."""
    offered = offered_volumes(settings, project)
    mounted: dict[str, TaskVolume] = {}
    problems = []
    for number, asked in _sent_volumes(sent):
        path = f"container.volumes.{number}"
        volume = offered.get(asked.name)
        if volume is None:
            known = ", ".join(sorted(offered)) or "none are configured"
            problems.append(FieldError(f"{path}.name", f"must be one of: {known}"))
            continue
        if asked.name in mounted:
            problems.append(FieldError(f"{path}.name", "is asked for twice"))
        if asked.acl == "rw" and volume.acl != "rw":
            problems.append(FieldError(f"{path}.acl", f"{asked.name} is read only (ro)"))
        if volume.path is None and not (owner.home or "").startswith("/"):
            problems.append(FieldError(f"{path}.name", f"{owner.id} has no home directory"))
        if asked.name != "home" and Feature.VOLUMES not in features:
            problems.append(FieldError(f"{path}.name", f"the {settings.executor} executor has no volumes but home"))
        mounted[asked.name] = _mounted(volume, asked, owner)
    return list(mounted.values()), problems


def offered_volumes(settings: Settings, project: Project | None) -> Mapping[str, Volume]:
    """Return the volumes that a task may name: those of the configuration and of its project."""
    offered = {volume.name: volume for volume in settings.volumes}
    for own in project.volumes if project else []:
        # The configuration wins: it may have taken a name or a mount after the project did.
        volume = Volume(**own.model_dump())
        if volume.name not in offered and volume.target not in {other.target for other in offered.values()}:
            offered[volume.name] = volume
    return offered


def _sent_volumes(sent: TaskIn) -> Iterator[tuple[int, TaskVolumeIn]]:
    """Yield each volume with its place. A copied task names its own directory, which every task gets anyway."""
    for number, asked in enumerate(sent.container.volumes or []):
        if asked.name != DIRECTORY_VOLUME:
            yield number, asked


def _mounted(volume: Volume, asked: TaskVolumeIn, owner: User) -> TaskVolume:
    path = (volume.path or owner.home or "").replace("$USERID", owner.id)
    return TaskVolume(name=asked.name, acl=asked.acl or volume.acl, path=path, mount=volume.target)
