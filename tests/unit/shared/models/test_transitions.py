"""The statuses and fields of each kind of transition."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import shared
from shared import lifecycle
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models import transitions
from shared.models.transitions import Transition
from tests.support import samples

CREATED, PENDING, STARTING, RUNNING = TaskStatus.CREATED, TaskStatus.PENDING, TaskStatus.STARTING, TaskStatus.RUNNING
OVER, ARCHIVED = TaskStatus.OVER, TaskStatus.ARCHIVED
AT = samples.NOW + 60

#: The placement that a scheduler writes.
PLACEMENT = {"node": "node1", "executor": "fake", "at": AT, "epoch": 3, "gpus": [], "ports": [], "leases": []}

UNPLACED = {"ending", "reason", "ended_at", "intent", "settled"}
ENDED = {"ending", "exit_code", "reason", "started_at", "ended_at", "intent", "cause", "settled"}
CLEARED = {"started_at", "intent", "intent_at", "intent_by", "cause", "remark"}

CASES = {
    "release": (
        transitions.release(samples.task(status=CREATED), at=AT),
        (CREATED, PENDING),
        {"queued_at"},
        [None],
    ),
    "end_unplaced": (
        transitions.end_unplaced(1, 0, PENDING, ending=Ending.QUOTA_REACHED, reason="used up", at=AT),
        (PENDING, OVER),
        UNPLACED,
        None,
    ),
    "end_unplaced, killed": (
        transitions.end_unplaced(
            1, 0, CREATED, ending=Ending.KILLED, reason="killed", at=AT, exit_code=137, intents=[Intent.KILL]
        ),
        (CREATED, OVER),
        UNPLACED | {"exit_code"},
        [Intent.KILL],
    ),
    "end_array": (
        transitions.end_array(
            samples.task(status=PENDING), fields={"exit_code": 0}, ended_at=AT - 1, was_killed=False, at=AT
        ),
        (PENDING, OVER),
        {"ended_at", "intent", "settled", "exit_code"},
        [None, Intent.SUSPEND, Intent.RESUME],
    ),
    "end_array, killed": (
        transitions.end_array(samples.task(status=PENDING), fields={}, ended_at=AT - 1, was_killed=True, at=AT),
        (PENDING, OVER),
        {"ended_at", "intent", "settled"},
        [Intent.KILL],
    ),
    "place": (
        transitions.place(samples.pending(), PLACEMENT, at=AT),
        (PENDING, STARTING),
        {"placement", "started_at", "reason"},
        [None],
    ),
    "run": (
        transitions.run(samples.placed(status=STARTING), started_at=AT - 1, at=AT),
        (STARTING, RUNNING),
        {"started_at"},
        None,
    ),
    "undo_start": (
        transitions.undo_start(samples.task(status=STARTING), reason="port taken", not_before=AT + 5, at=AT),
        (STARTING, PENDING),
        {"placement", "started_at", "not_before", "reason"},
        None,
    ),
    "end_start": (
        transitions.end_start(samples.task(status=STARTING), ending=Ending.START_FAILED, reason="no image", at=AT),
        (STARTING, OVER),
        UNPLACED,
        None,
    ),
    "finish": (
        transitions.finish(
            samples.placed(),
            ending=Ending.EXITED,
            exit_code=0,
            reason=None,
            started_at=AT - 5,
            ended_at=AT - 1,
            at=AT,
        ),
        (RUNNING, OVER),
        ENDED,
        None,
    ),
    "finish, node failed": (
        transitions.finish(
            samples.placed(status=STARTING),
            ending=Ending.NODE_FAILED,
            exit_code=137,
            reason="its node failed it",
            started_at=None,
            ended_at=AT - 1,
            at=AT,
            failure={"count": 1},
        ),
        (STARTING, OVER),
        ENDED | {"failure"},
        None,
    ),
    "requeue": (
        transitions.requeue(samples.placed(), {"queued_at": AT}, note="rescheduled", expected=Intent.RESCHEDULE, at=AT),
        (RUNNING, PENDING),
        CLEARED | {"queued_at"},
        [Intent.RESCHEDULE],
    ),
    "archive": (transitions.archive(1, 1, at=AT), (OVER, ARCHIVED), {"purge", "share"}, None),
    "withdraw": (
        transitions.withdraw(samples.task(status=RUNNING), note="not on its node", at=AT),
        (RUNNING, PENDING),
        {"placement", "started_at"},
        None,
    ),
    "adopt": (
        transitions.adopt(samples.task(), PLACEMENT, attempt=4, reason=None, note="found", at=AT),
        (PENDING, STARTING),
        {"placement", "started_at", "reason", "waiting_on", "not_before"},
        None,
    ),
    "adopt_ended": (
        transitions.adopt_ended(samples.task(status=STARTING), started_at=AT - 9, note="gone", at=AT),
        (STARTING, RUNNING),
        {"placement.leases", "started_at"},
        None,
    ),
}


@pytest.mark.parametrize(("made", "edge", "fields", "intents"), CASES.values(), ids=CASES.keys())
def test_each_kind_has_its_edge_its_fields_and_its_condition(
    made: Transition, edge: tuple[TaskStatus, TaskStatus], fields: set[str], intents: list[Intent | None] | None
) -> None:
    assert (made.old, made.new) == edge
    lifecycle.check_transition(made.old, made.new)
    assert set(made.fields) == fields
    assert made.intents == intents or list(made.intents or ()) == intents
    assert made.at == AT


def test_every_constructor_is_tested() -> None:
    constructors = {
        name
        for name, function in inspect.getmembers(transitions, inspect.isfunction)
        if function.__module__ == transitions.__name__ and function.__annotations__.get("return") == "Transition"
    }
    assert constructors == {name.partition(",")[0] for name in CASES}


def test_only_placing_and_adopting_begin_another_attempt() -> None:
    numbers = {name: made.next_attempt for name, (made, *_) in CASES.items() if made.next_attempt is not None}
    assert numbers == {"place": 1, "adopt": 4}


def test_an_end_without_a_run_has_nothing_to_settle_and_one_after_a_run_has() -> None:
    settled = {name: made.fields["settled"] for name, (made, *_) in CASES.items() if made.new is OVER}
    assert {name for name, done in settled.items() if not done} == {"finish", "finish, node failed"}


def test_a_task_that_is_requeued_has_no_intent_left() -> None:
    made = CASES["requeue"][0]
    assert all(made.fields[name] is None for name in ("intent", "intent_at", "intent_by", "cause", "started_at"))


def test_transitions_are_made_by_their_constructors_alone() -> None:
    root = Path(shared.__file__).parents[1]
    own = Path(transitions.__file__)
    makers = [
        f"{path.relative_to(root)}:{node.lineno}"
        for package in ("shared", "services", "godocker")
        for path in sorted((root / package).rglob("*.py"))
        if path != own
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _name(node.func) == "Transition"
    ]
    assert makers == []


def _name(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None
