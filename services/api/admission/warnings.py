"""Find what is odd about a task that may be sent all the same: misspelt fields, amounts that no node has, scripts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.api.admission import unknown_fields
from services.api.wire import submission
from services.api.wire.explanation import Verdict
from shared import errors
from shared.errors import FieldError
from shared.models.node import Node
from shared.rules import scripts
from shared.settings import Settings
from shared.units import durations
from shared.units.sizes import GB

MOST = 100  #: sentences in one answer
_REASONS = 3  #: of a verdict, that are repeated
_SHORT = 60  #: seconds: who asks for less of a lifespan probably meant another unit


def found(sent: submission.TaskIn, document: Any, *, settings: Settings, nodes: Sequence[Node]) -> list[FieldError]:
    """
    Each oddity as the path it is at and a whole sentence. `document` is the JSON that `sent` was read from; `nodes` are all there
    are, as they were last seen.
    """
    dynamic = {field.name: None for field in settings.dynamic_fields}
    return [
        *unknown_fields.found(document, dynamic),
        *_of_amounts(sent, settings, nodes),
        *_of_lifespan(sent),
        *(FieldError("command.cmd", f"command.cmd: {text}") for text in scripts.problems_of(sent.command.cmd)),
    ]


def numbered(number: int, oddities: Sequence[FieldError]) -> list[FieldError]:
    """The oddities of one task among several, led by its place."""
    return [FieldError(f"{number}.{one.path}", f"{number}.{one.rule}") for one in oddities]


def sentences(oddities: Sequence[FieldError]) -> list[str]:
    """What an answer says of them."""
    return [one.rule for one in oddities[:MOST]] + (["there are more warnings"] if len(oddities) > MOST else [])


def of_verdict(explanation: Mapping[str, Any]) -> list[FieldError]:
    """The scheduler's verdict on a dry run, where it is that the task can never run here."""
    if explanation["verdict"] != Verdict.NEVER:
        return []
    text = "; ".join(reason["text"] for reason in explanation["reasons"][:_REASONS])
    return [FieldError("requirements", f"requirements: the task cannot run here as the nodes are: {text}")]


def check(oddities: Sequence[FieldError]) -> None:
    """Raises `errors.InvalidInput` if there are any: the sender wants none."""
    if oddities:
        raise errors.InvalidInput(
            [FieldError(one.path, one.rule.removeprefix(one.path).lstrip(": ")) for one in oddities]
        )


def _of_amounts(sent: submission.TaskIn, settings: Settings, nodes: Sequence[Node]) -> Iterator[FieldError]:
    wants = sent.requirements or submission.RequirementsIn()
    cpu, ram, gpus = wants.cpu or settings.defaults_cpu, wants.ram or settings.defaults_ram, wants.gpus or 0
    labels = wants.label or []
    # First: for most tasks the first node has all of it, and a thousand others need no look.
    if any(_could_take(node, cpu, ram, gpus, labels) for node in nodes):
        return
    # A node that was never seen may have anything.
    if not nodes or not all(node.cpus and node.memory for node in nodes):
        return
    said = False
    if cpu > (most := max(node.cpus for node in nodes)):
        said = True
        yield _never("cpu", f"is in cores: no node has {cpu:g}, the most is {most:g}")
    if ram > (most := max(node.memory for node in nodes) / GB):
        said = True
        yield _never("ram", f"is in GB: no node has {ram:g}, the most is {_rounded(most)}")
    if gpus > (most := max(len(node.gpus) for node in nodes)):
        said = True
        yield _never("gpus", f"is {gpus}: no node has as many, the most is {most}")
    for number, label in enumerate(labels):
        if not any(_has(node, label) for node in nodes):
            said = True
            yield _never(f"label.{number}", f"is {label}: no node is so")
    if not said:
        yield FieldError(
            "requirements", "requirements: no single node has all of this, so the task cannot run here as they are"
        )


def _never(name: str, text: str) -> FieldError:
    path = f"requirements.{name}"
    return FieldError(path, f"{path} {text}; the task cannot run here as the nodes are")


def _could_take(node: Node, cpu: float, ram: float, gpus: int, labels: Sequence[str]) -> bool:
    enough = node.cpus >= cpu and node.memory >= ram * GB and len(node.gpus) >= gpus
    return enough and all(_has(node, label) for label in labels)


def _has(node: Node, label: str) -> bool:
    name, equal, value = label.partition("==")
    if not equal:
        name, _, value = label.partition("!=")
    return (node.labels.get(name) == value) is bool(equal)


def _of_lifespan(sent: submission.TaskIn) -> Iterator[FieldError]:
    asked = sent.requirements.maxlifespan if sent.requirements else None
    if asked and str(asked).strip().isdigit() and durations.parse(asked) < _SHORT:
        path = "requirements.maxlifespan"
        yield FieldError(path, f"{path} is in seconds: the task is stopped {asked} s after its start")


def _rounded(gigabytes: float) -> str:
    return f"{gigabytes:.3g}" if gigabytes < 1000 else f"{gigabytes:.0f}"
