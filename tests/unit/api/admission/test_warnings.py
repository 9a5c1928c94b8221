"""Oddities of a task are named in warnings; a normal task gets none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.api.admission import unknown_fields, warnings
from services.api.wire import task as wire
from services.api.wire.submission import TaskIn
from shared import errors
from shared.lifecycle import TaskStatus
from shared.models.node import Node
from shared.settings import DynamicField, Settings
from shared.storage.directories import TaskDirectories
from tests.support import samples

GB = 1024**3
SETTINGS = Settings(dynamic_fields=[DynamicField(name="site")])


def node(name: str = "n1", cpus: float = 8, gb: float = 16, **fields: Any) -> Node:
    return Node(_id=name, executor="docker", ready=True, cpus=cpus, memory=int(gb * GB), checked_at=0, **fields)


NODES = [node(gpus=["0"], labels={"storage": "ssd"}), node("n2", cpus=32, gb=8)]


def told(document: dict[str, Any], nodes: list[Node] = NODES) -> list[str]:
    sent = TaskIn.model_validate(document)
    return warnings.sentences(warnings.find(sent, document, settings=SETTINGS, nodes=nodes))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("requirements.cpus", 2, "requirements.cpus is not known and is ignored; did you mean cpu?"),
        ("requirements.memory", 2, "requirements.memory is not known and is ignored; did you mean ram?"),
        ("requirement", {"cpu": 2}, "requirement is not known and is ignored; did you mean requirements?"),
        ("container.volume", [], "container.volume is not known and is ignored; did you mean volumes?"),
        ("command.command", "x", "command.command is not known and is ignored; did you mean cmd?"),
        ("meta.tag", ["a"], "meta.tag is not known and is ignored; did you mean tags?"),
        ("xyzzy", 1, "xyzzy is not known and is ignored"),
        ("a\x1b[31m", 1, "a?[31m is not known and is ignored"),
        ("container.volumes", [{"name": "a", "mode": "rw"}], "container.volumes.0.mode is not known and is ignored"),
        (
            "requirements.ram",
            4096,
            "requirements.ram is in GB: no node has 4096, the most is 16; the task cannot run here as the nodes are",
        ),
        (
            "requirements.cpu",
            33,
            "requirements.cpu is in cores: no node has 33, the most is 32; the task cannot run here as the nodes are",
        ),
        (
            "requirements.gpus",
            2,
            "requirements.gpus is 2: no node has as many, the most is 1; the task cannot run here as the nodes are",
        ),
        (
            "requirements.label",
            ["storage==tape"],
            "requirements.label.0 is storage==tape: no node matches; the task cannot run here as the nodes are",
        ),
        (
            "requirements.maxlifespan",
            "6",
            "requirements.maxlifespan is in seconds: the task is stopped 6 s after its start",
        ),
        (
            "command.cmd",
            "\n#!/bin/bash\necho hello",
            "command.cmd: the script does not begin with `#!`, so that its `#!` is not seen and /bin/sh runs it; remove "
            "what stands before it",
        ),
    ],
)
def test_an_oddity_is_one_sentence(path: str, value: Any, sentence: str) -> None:
    assert told(
        samples.submission(**{path: value} if "." in path else {}) | ({} if "." in path else {path: value})
    ) == [sentence]


def test_a_combination_that_no_single_node_has_is_warned_of() -> None:
    (sentence,) = told(samples.submission(**{"requirements.cpu": 32, "requirements.ram": 16}))
    assert "no single node has all of this" in sentence


@pytest.mark.parametrize("nodes", [[], [node(cpus=0, gb=0)], [*NODES, node("n3", cpus=0, gb=0)]])
def test_nodes_that_were_never_seen_cause_no_warning(nodes: list[Node]) -> None:
    assert told(samples.submission(**{"requirements.ram": 4096}), nodes) == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"requirements.cpu": 32},
        {"requirements.label": ["storage!=ssd"]},
        {"requirements.maxlifespan": "30s"},
        {"requirements.maxlifespan": 3600},
        {"requirements.site": "north"},
        {"requirements.array.values": "1:10"},
    ],
)
def test_a_usual_task_causes_no_warning(changes: dict[str, Any]) -> None:
    assert told(samples.submission(**changes)) == []


@pytest.mark.parametrize("status", [TaskStatus.PENDING, TaskStatus.OVER])
def test_a_whole_task_that_is_sent_again_has_no_unknown_field(status: TaskStatus) -> None:
    fields = {"placement": samples.placement(), "started_at": 1.0, "ended_at": 2.0, "exit_code": 3}
    task = samples.task(7, status, **fields if status is TaskStatus.OVER else {})
    shown = wire.shown(task, directories=TaskDirectories(Path("/shared")), pending_reason=None)
    assert [*unknown_fields.find(shown)] == []


def test_many_unknown_fields_are_named_up_to_a_bound() -> None:
    assert len([*unknown_fields.find({f"x{number}": 1 for number in range(100_000)})]) == unknown_fields.MAX_NAMED
    many = [*unknown_fields.find({"x": 1})] * (warnings.MAX_SENTENCES + 5)
    assert warnings.sentences(many)[-1] == "there are more warnings"
    assert len(warnings.sentences(many)) == warnings.MAX_SENTENCES + 1


def test_a_strict_sender_is_refused_with_path_and_rule() -> None:
    document = samples.submission(**{"requirements.cpus": 2})
    oddities = warnings.find(TaskIn.model_validate(document), document, settings=SETTINGS, nodes=NODES)
    with pytest.raises(errors.InvalidInput) as caught:
        warnings.check(warnings.numbered(3, oddities))
    assert str(caught.value) == "3.requirements.cpus: is not known and is ignored; did you mean cpu?"
    warnings.check([])


def test_an_infeasible_verdict_of_the_scheduler_is_a_warning() -> None:
    reasons = [{"code": "quota", "text": "alice has used all of their quota"}]
    (found,) = warnings.of_verdict({"verdict": "never", "reasons": reasons})
    assert "alice has used all" in found.rule
    assert warnings.of_verdict({"verdict": "waiting", "reasons": reasons}) == []
