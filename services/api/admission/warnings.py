"""Find oddities that do not stop a task, such as misspelt fields or amounts that no node has: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.api.admission import unknown_fields
from services.api.wire.explanation import Verdict
from services.api.wire.submission import TaskIn
from shared import errors
from shared.errors import FieldError
from shared.models.node import Node
from shared.rules import scripts
from shared.settings import Settings
from shared.units import durations
from shared.units.sizes import GB

MAX_SENTENCES = 100  #: in one answer
_MAX_REASONS = 3  #: of a verdict, in one sentence
_SHORT_LIFESPAN = 60  #: seconds; a shorter one was probably meant in another unit


def find(sent: TaskIn, document: Any, *, settings: Settings, nodes: Sequence[Node]) -> list[FieldError]:
    """
    Return each oddity with its path and a whole sentence. `document` is the JSON that `sent` was read from; `nodes` are
    all nodes as they were last seen.
    """
    dynamic = {field.name: None for field in settings.dynamic_fields}
    return [
        *unknown_fields.find(document, dynamic),
        *_amounts(sent, settings, nodes),
        *_lifespan(sent),
        *(FieldError("command.cmd", f"command.cmd: {text}") for text in scripts.problems_of(sent.command.cmd)),
    ]


def numbered(number: int, oddities: Sequence[FieldError]) -> list[FieldError]:
    """Prefix the oddities of one task in a batch with its place."""
    return [FieldError(f"{number}.{one.path}", f"{number}.{one.rule}") for one in oddities]


def sentences(oddities: Sequence[FieldError]) -> list[str]:
    """Return the `warnings` of an answer, bounded in number."""
    return [one.rule for one in oddities[:MAX_SENTENCES]] + (
        ["there are more warnings"] if len(oddities) > MAX_SENTENCES else []
    )


def of_verdict(explanation: Mapping[str, Any]) -> list[FieldError]:
    """Return a warning if the scheduler's verdict on a dry run is that the task can never run here."""
    if explanation["verdict"] != Verdict.NEVER:
        return []
    text = "; ".join(reason["text"] for reason in explanation["reasons"][:_MAX_REASONS])
    return [FieldError("requirements", f"requirements: the task cannot run here as the nodes are: {text}")]


def check(oddities: Sequence[FieldError]) -> None:
    """Raise `errors.InvalidInput` if there are oddities, for a sender who accepts none."""
    if oddities:
        raise errors.InvalidInput(
            [FieldError(one.path, one.rule.removeprefix(one.path).lstrip(": ")) for one in oddities]
        )


def _amounts(sent: TaskIn, settings: Settings, nodes: Sequence[Node]) -> Iterator[FieldError]:
    needs = sent.needs
    cpu, ram, gpus = needs.cpu or settings.defaults_cpu, needs.ram or settings.defaults_ram, needs.gpus or 0
    labels = needs.label or []
    # First: most tasks fit the first node, and a thousand others need not be examined.
    if any(_is_large_enough(node, cpu, ram, gpus, labels) for node in nodes):
        return
    # A node that was never seen may have any size.
    if not nodes or not all(node.cpus and node.memory for node in nodes):
        return
    is_explained = False
    if cpu > (most := max(node.cpus for node in nodes)):
        is_explained = True
        yield _infeasible("cpu", f"is in cores: no node has {cpu:g}, the most is {most:g}")
    if ram > (most := max(node.memory for node in nodes) / GB):
        is_explained = True
        yield _infeasible("ram", f"is in GB: no node has {ram:g}, the most is {_rounded(most)}")
    if gpus > (most := max(len(node.gpus) for node in nodes)):
        is_explained = True
        yield _infeasible("gpus", f"is {gpus}: no node has as many, the most is {most}")
    for number, label in enumerate(labels):
        if not any(_has(node, label) for node in nodes):
            is_explained = True
            yield _infeasible(f"label.{number}", f"is {label}: no node matches")
    if not is_explained:
        yield FieldError(
            "requirements",
            "requirements: no single node has all of this; the task cannot run here as the nodes are",
        )


def _infeasible(name: str, text: str) -> FieldError:
    path = f"requirements.{name}"
    return FieldError(path, f"{path} {text}; the task cannot run here as the nodes are")


def _is_large_enough(node: Node, cpu: float, ram: float, gpus: int, labels: Sequence[str]) -> bool:
    enough = node.cpus >= cpu and node.memory >= ram * GB and len(node.gpus) >= gpus
    return enough and all(_has(node, label) for label in labels)


def _has(node: Node, label: str) -> bool:
    name, equal, value = label.partition("==")
    if not equal:
        name, _, value = label.partition("!=")
    return (node.labels.get(name) == value) is bool(equal)


def _lifespan(sent: TaskIn) -> Iterator[FieldError]:
    asked = sent.needs.maxlifespan
    if asked and str(asked).strip().isdigit() and durations.parse(asked) < _SHORT_LIFESPAN:
        path = "requirements.maxlifespan"
        yield FieldError(path, f"{path} is in seconds: the task is stopped {asked} s after its start")


def _rounded(gigabytes: float) -> str:
    return f"{gigabytes:.3g}" if gigabytes < 1000 else f"{gigabytes:.0f}"
