"""Check the amounts, labels and limits that a sent task asks for: pure, one function per field of `Spec`."""

from __future__ import annotations

import re

from services.api.admission.checked import Checked
from services.api.wire.submission import TaskIn
from shared.errors import FieldError
from shared.executors.types import Feature
from shared.settings import Settings
from shared.units import durations

MIN_CPU = 0.01
MIN_RAM = 0.006  #: GB, the minimum of a Docker Engine
LIFESPAN = "maxlifespan"  #: may also be a dynamic field
MAX_PORTS = 32  #: of one task
MAX_GPUS = 64
MAX_TICKET_SHARE = 1_000_000

_LABEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}(?:==|!=)[A-Za-z0-9][A-Za-z0-9._/-]{0,127}\Z")


def cpu(sent: TaskIn, settings: Settings) -> Checked[float]:
    """Return the number of cores."""
    asked = sent.needs.cpu
    bounds = MIN_CPU, settings.max_cpu
    return asked or settings.defaults_cpu, _out_of_bounds("requirements.cpu", asked, bounds)


def ram(sent: TaskIn, settings: Settings) -> Checked[float]:
    """Return the memory in GB."""
    asked = sent.needs.ram
    bounds = MIN_RAM, settings.max_ram
    return asked or settings.defaults_ram, _out_of_bounds("requirements.ram", asked, bounds, unit=" GB")


def _out_of_bounds(path: str, asked: float | None, bounds: tuple[float, float], *, unit: str = "") -> list[FieldError]:
    least, most = bounds
    if asked is None or least <= asked <= most:
        return []
    rule = f"must be at most {most:g}{unit}" if asked > most else f"must be at least {least:g}{unit}"
    return [FieldError(path, rule)]


def gpus(sent: TaskIn, settings: Settings, features: frozenset[Feature]) -> Checked[int]:
    """Return the number of GPUs."""
    asked, problems = sent.needs.gpus or 0, []
    if asked and Feature.GPUS not in features:
        problems.append(FieldError("requirements.gpus", f"the {settings.executor} executor has no GPUs"))
    if asked > MAX_GPUS:
        problems.append(FieldError("requirements.gpus", f"must be at most {MAX_GPUS}"))
    return asked, problems


def ports(sent: TaskIn, settings: Settings, features: frozenset[Feature]) -> Checked[list[int]]:
    """Return the container ports to publish."""
    asked, problems = sent.needs.ports or [], []
    if asked and Feature.PORTS not in features:
        problems.append(FieldError("requirements.ports", f"the {settings.executor} executor has no ports"))
    if len(asked) > MAX_PORTS:
        problems.append(FieldError("requirements.ports", f"must be at most {MAX_PORTS} ports"))
    if len(set(asked)) < len(asked):
        problems.append(FieldError("requirements.ports", "must name each port once"))
    return asked, problems


def labels(sent: TaskIn) -> Checked[list[str]]:
    """Return the conditions on labels of the node."""
    asked = sent.needs.label or []
    problems = [
        FieldError(f"requirements.label.{number}", "must be like storage==ssd or storage!=ssd")
        for number, label in enumerate(asked)
        if not _LABEL.match(label)
    ]
    return asked, problems


def restarts(sent: TaskIn, settings: Settings) -> Checked[int]:
    """Return how often the task may be restarted after a failure of its node."""
    asked, allowed = sent.needs.failure_policy or 0, settings.failure_policy.strategy
    if asked <= allowed:
        return asked, []
    off = "must be 0: restarts after a failure of the node are off here"
    return asked, [FieldError("requirements.failure_policy", f"must be at most {allowed} here" if allowed else off)]


def lifespan(sent: TaskIn, settings: Settings) -> Checked[float | None]:
    """Return the lifespan in seconds; None where the task sets none."""
    asked = sent.needs.maxlifespan
    if not asked:
        return None, []
    if problem := lifespan_problem(asked, settings):
        return None, [FieldError("requirements.maxlifespan", problem)]
    return durations.parse(asked), []


def lifespan_problem(value: str | int, settings: Settings) -> str | None:
    """Return the rule that `value` breaks as a lifespan; None if it breaks none."""
    try:
        seconds = durations.parse(value)
    except ValueError as error:
        return str(error)
    if settings.maxlifespan is not None and seconds > settings.maxlifespan:
        return f"must be at most {durations.shown(settings.maxlifespan)}"
    return None


def ticket_share(sent: TaskIn) -> Checked[float | None]:
    """Return the handicap in fair share."""
    asked = sent.needs.ticket_share
    if asked is None or 0 <= asked <= MAX_TICKET_SHARE:
        return asked, []
    return asked, [FieldError("requirements.ticket_share", f"must be between 0 and {MAX_TICKET_SHARE}")]
