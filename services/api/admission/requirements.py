"""Requirements of a task beyond cores and memory: the rules they break, and how they are stored. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from services.api.admission import arrays, dependencies
from services.api.wire import submission
from shared.errors import FieldError
from shared.executors.types import Feature
from shared.models.project import DEFAULT
from shared.models.task import Network, TmpStorage
from shared.models.user import User
from shared.settings import Settings
from shared.units import durations, sizes

LIFESPAN = "maxlifespan"  #: may also be a dynamic field
MAX_PORTS = 32  #: of one task
MAX_GPUS = 64
SMALLEST_TMPSTORAGE = 1024 * 1024  #: bytes

_LABEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}(?:==|!=)[A-Za-z0-9][A-Za-z0-9._/-]{0,127}\Z")
_PLACE = re.compile(r"^(/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){1,8}\Z")
_SYSTEM_PLACES = (
    "/proc",
    "/dev",
    "/sys",
    "/bin",
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/sbin",
    "/mnt/go-docker",
    "/mnt/god-data",
)


def wanted(sent: submission.TaskIn) -> dict[str, Any]:
    """The fields of `Spec` for what was asked for; `problems` has to be asked first."""
    wants = sent.requirements or submission.RequirementsIn()
    temporary = _tmpstorage(wants)
    return {
        "gpus": wants.gpus or 0,
        "labels": wants.label or [],
        "ports": wants.ports or [],
        "network": _network(sent),
        "tmpstorage": TmpStorage(size=sizes.parse(temporary.size), path=temporary.path or "") if temporary else None,
        "restarts": wants.failure_policy or 0,
        "lifespan": durations.parse(wants.maxlifespan) if wants.maxlifespan else None,
        "ticket_share": wants.ticket_share,
        "depends": dependencies.wanted(sent),
    }


def problems(
    sent: submission.TaskIn, *, owner: User, settings: Settings, features: frozenset[Feature]
) -> Iterator[FieldError]:
    """Every rule that the requirements break."""
    wants = sent.requirements or submission.RequirementsIn()
    yield from _not_carried_out(sent, settings)
    yield from arrays.problems(sent, settings)
    yield from dependencies.problems(sent)
    yield from _device_problems(wants, settings, features)
    yield from _label_problems(wants)
    yield from _network_problems(sent, settings, features)
    yield from _tmpstorage_problems(wants, settings, features)
    yield from _policy_problems(wants, settings)


def lifespan_problem(value: str | int, settings: Settings) -> str | None:
    """Why `value` cannot be how long a task may run; None if it can."""
    try:
        seconds = durations.parse(value)
    except ValueError as error:
        return str(error)
    if settings.maxlifespan is not None and seconds > settings.maxlifespan:
        return f"must be at most {durations.shown(settings.maxlifespan)}"
    return None


def _not_carried_out(sent: submission.TaskIn, settings: Settings) -> Iterator[FieldError]:
    """Fields that this version knows and cannot do: refused, never silently dropped. Their empty values are fine."""
    if sent.command.interactive:
        yield FieldError("command.interactive", "interactive tasks are not supported; leave this field out")
    wants = sent.requirements or submission.RequirementsIn()
    if wants.executor not in (None, "", settings.executor):
        yield FieldError("requirements.executor", f"must be {settings.executor!r}, the only one here")


def _device_problems(
    wants: submission.RequirementsIn, settings: Settings, features: frozenset[Feature]
) -> Iterator[FieldError]:
    if wants.gpus and Feature.GPUS not in features:
        yield FieldError("requirements.gpus", f"the {settings.executor} executor has no GPUs")
    if wants.gpus and wants.gpus > MAX_GPUS:
        yield FieldError("requirements.gpus", f"must be at most {MAX_GPUS}")
    ports = wants.ports or []
    if ports and Feature.PORTS not in features:
        yield FieldError("requirements.ports", f"the {settings.executor} executor has no ports")
    if len(ports) > MAX_PORTS:
        yield FieldError("requirements.ports", f"must be at most {MAX_PORTS} ports")
    if len(set(ports)) < len(ports):
        yield FieldError("requirements.ports", "must name each port once")


def _label_problems(wants: submission.RequirementsIn) -> Iterator[FieldError]:
    for number, label in enumerate(wants.label or []):
        if not _LABEL.match(label):
            yield FieldError(f"requirements.label.{number}", "must be like storage==ssd or storage!=ssd")


def _network(sent: submission.TaskIn) -> Network | None:
    """`container.network` says whether, `requirements.network` which; ports, or one of the others, are a wish by themselves."""
    wants = sent.requirements or submission.RequirementsIn()
    if wants.network in (Network.USER, Network.PROJECT):
        return Network(wants.network)
    return Network.PUBLIC if sent.container.network or wants.ports else None


def _network_problems(
    sent: submission.TaskIn, settings: Settings, features: frozenset[Feature]
) -> Iterator[FieldError]:
    wants = sent.requirements or submission.RequirementsIn()
    if wants.network and wants.network not in {*Network}:
        yield FieldError("requirements.network", f"must be one of: {', '.join(Network)}")
    elif wants.network in (Network.USER, Network.PROJECT) and Feature.NETWORKS not in features:
        yield FieldError("requirements.network", f"the {settings.executor} executor has only {Network.PUBLIC}")
    elif wants.network == Network.PROJECT and (sent.user is None or (sent.user.project or DEFAULT) == DEFAULT):
        yield FieldError(
            "requirements.network", "must be of a project: set user.project, the default one has no network"
        )


def _tmpstorage(wants: submission.RequirementsIn) -> submission.TmpStorageIn | None:
    found = wants.tmpstorage
    return found if found and (found.size or found.path) else None


def _tmpstorage_problems(
    wants: submission.RequirementsIn, settings: Settings, features: frozenset[Feature]
) -> Iterator[FieldError]:
    found = _tmpstorage(wants)
    if found is None:
        return
    if Feature.TMPSTORAGE not in features:
        yield FieldError("requirements.tmpstorage", f"the {settings.executor} executor has none")
    try:
        size = sizes.parse(found.size)
    except ValueError as error:
        yield FieldError("requirements.tmpstorage.size", str(error))
    else:
        if not SMALLEST_TMPSTORAGE <= size <= 2**50:
            yield FieldError("requirements.tmpstorage.size", "must be between 1M and 1024T")
    path = found.path or ""
    if not _PLACE.match(path) or any(f"{path}/".startswith(f"{place}/") for place in _SYSTEM_PLACES):
        yield FieldError("requirements.tmpstorage.path", "must be an absolute, plain path that is not the system's")


def _policy_problems(wants: submission.RequirementsIn, settings: Settings) -> Iterator[FieldError]:
    allowed = settings.failure_policy.strategy
    if (wants.failure_policy or 0) > allowed:
        rule = (
            f"must be at most {allowed} here"
            if allowed
            else "must be 0: restarts after a failure of the node are off here"
        )
        yield FieldError("requirements.failure_policy", rule)
    if wants.maxlifespan and (problem := lifespan_problem(wants.maxlifespan, settings)):
        yield FieldError("requirements.maxlifespan", problem)
    share = wants.ticket_share
    if share is not None and not 0 <= share <= 1_000_000:
        yield FieldError("requirements.ticket_share", "must be between 0 and 1000000")
