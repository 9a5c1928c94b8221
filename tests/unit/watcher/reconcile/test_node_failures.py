"""Failures of nodes are told from failures of commands, and restart the task."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.watcher.reconcile import accounting, outcome, restarts
from services.watcher.reconcile.diff import Stop, reconcile
from shared.executors.types import Boot, Observation, RunState
from shared.lifecycle import Ending, Intent, IntentResult, TaskStatus
from shared.models.attempt_files import Result
from shared.models.node import TRIES, UnreachableNode
from shared.models.task import Cause, Failure, Task
from shared.models.transitions import Transition
from shared.models.work import Placed
from shared.settings import FailurePolicy
from tests.support import samples

NOW = samples.NOW
DOWN = 600.0
RUN = samples.placed()
RESTARTED = f"the Docker Engine of {samples.NODE} was restarted while it ran"
RENEWED = f"{RESTARTED}, and no longer has the container"
SILENT = f"node {samples.NODE} did not answer for 10 minutes"
LEFT_BEHIND = f"node {samples.NODE} does not answer; the exit code is the one it left in its directory"
KILLED_BY = "killed by its owner or an admin"
TOO_LONG = Cause(ending=Ending.LIFESPAN_REACHED, reason="ran for 1 hour, the longest it may (maxlifespan)")

#: The run began at NOW and ended at NOW + 10; it is observed at NOW + 100.
BEFORE, DURING, AFTER, LATER = (Boot(at=NOW + at, ago=100 - at) for at in (-5.0, 9.0, 12.0, 10 + DOWN + 1))


def exited(code: int | None, **fields: Any) -> Observation:
    return samples.seen(state=RunState.EXITED, exit_code=code, **{"started_at": NOW, "ended_at": NOW + 10, **fields})


def left(code: int | None = None, *, told: bool = False, started_at: float = NOW + 1) -> Result:
    ended_at = NOW + 9 if code is not None else None
    return Result(started_at=started_at, ended_at=ended_at, exit_code=code, told_to_end=told)


# --- a run that ended ------------------------------------------------------------------------

THE_NODE, THE_COMMAND = Ending.NODE_FAILED, Ending.EXITED


@pytest.mark.parametrize(
    ("seen", "result", "boot", "ending", "code"),
    [
        # the engine killed it when it shut down, and was started again
        (exited(137), left(), AFTER, THE_NODE, 137),
        (exited(143), left(), AFTER, THE_NODE, 137),
        # it was dead when the engine started
        (exited(255), left(), DURING, THE_NODE, 137),
        (exited(255), left(), AFTER, THE_NODE, 137),
        (exited(None), left(), AFTER, THE_NODE, 137),
        # it was sent SIGTERM, which ended it
        (exited(143), left(143, told=True), AFTER, THE_NODE, 137),
        # the shell was killed before it took the attempt
        (exited(137), None, AFTER, THE_NODE, 137),
        # the attempt was started again on an engine that had lost it
        (exited(125, started_at=NOW + 20), left(), AFTER, THE_NODE, 137),
        # the command's own end
        (exited(0), left(0), AFTER, THE_COMMAND, 0),
        (exited(0), left(0, told=True), AFTER, THE_COMMAND, 0),
        (exited(3), left(3, told=True), AFTER, THE_COMMAND, 3),
        (exited(255), left(4), AFTER, THE_COMMAND, 4),
        (exited(255), left(255), AFTER, THE_COMMAND, 255),
        (exited(143), left(143), AFTER, THE_COMMAND, 143),
        (exited(137), left(137), AFTER, THE_COMMAND, 137),
        (exited(127), left(127), AFTER, THE_COMMAND, 127),
        (exited(139), left(139), AFTER, THE_COMMAND, 139),
        # the engine was not restarted since
        (exited(137), left(), BEFORE, THE_COMMAND, 137),
        (exited(143), left(143, told=True), BEFORE, THE_COMMAND, 143),
        (exited(255), left(), BEFORE, THE_COMMAND, 255),
        (exited(125, started_at=NOW + 20), left(), BEFORE, THE_COMMAND, 137),
        # its last start is not known
        (exited(137), left(), None, THE_COMMAND, 137),
        # it was long after
        (exited(137), left(), LATER, THE_COMMAND, 137),
        # memory is not the node's fault
        (exited(137, out_of_memory=True), left(), AFTER, Ending.OUT_OF_MEMORY, 137),
        # nor is a missing shell
        (exited(125), None, AFTER, Ending.START_FAILED, 125),
    ],
)  # fmt: skip
def test_an_end_is_the_node_s_fault_or_the_command_s(
    seen: Observation, result: Result | None, boot: Boot | None, ending: Ending, code: int
) -> None:
    found = outcome.of_exit(RUN, seen, result, looked=True, boot=boot, down=DOWN, now=NOW + 100)
    assert (found.ending, found.exit_code) == (ending, code)
    if ending is THE_NODE:
        assert (found.reason, found.started_at, found.ended_at) == (RESTARTED, NOW, NOW + 10)


@pytest.mark.parametrize(
    ("task", "seen", "result", "asked"),
    [
        (RUN, exited(137), None, True),
        (RUN, exited(143), left(143, told=True), True),
        (RUN, exited(125), left(), True),
        (RUN, exited(255), left(), True),
        (samples.placed(intent=Intent.SUSPEND), exited(137), left(), True),
        (RUN, exited(0), None, False),
        (RUN, exited(127), None, False),
        (RUN, exited(137), left(137), False),
        (RUN, exited(137, out_of_memory=True), None, False),
        (samples.placed(intent=Intent.KILL), exited(137), None, False),
    ],
)
def test_the_node_is_asked_only_where_it_may_be_to_blame(
    task: Placed, seen: Observation, result: Result | None, asked: bool
) -> None:
    assert outcome.may_be_node_failure(task, seen, result) is asked


@given(code=st.integers(0, 124), told=st.booleans(), boot=st.sampled_from([None, BEFORE, DURING, AFTER, LATER]))
def test_a_code_that_only_a_command_can_have_is_never_the_node_s(code: int, told: bool, boot: Boot | None) -> None:
    found = outcome.of_exit(RUN, exited(code), left(code, told=told), looked=True, boot=boot, down=DOWN, now=NOW + 100)
    assert (found.ending, found.exit_code) == (Ending.EXITED, code)


@pytest.mark.parametrize(
    ("cause", "ending", "reason"),
    [(None, Ending.KILLED, KILLED_BY), (TOO_LONG, Ending.LIFESPAN_REACHED, TOO_LONG.reason)],
)
def test_a_task_with_a_kill_request_ends_as_killed_whatever_ended_it(
    cause: Cause | None, ending: Ending, reason: str
) -> None:
    task = samples.placed(intent=Intent.KILL, intent_at=NOW + 50, cause=cause)
    seen = exited(137)
    ends = [
        outcome.of_exit(task, seen, left(), looked=True, boot=AFTER, down=DOWN, now=NOW + 100),
        outcome.of_missing(task, None, boot=AFTER, now=NOW + 100),
        outcome.of_lost(task, None, silent=600, now=NOW + 100),
    ]
    for found in ends:
        assert (found.ending, found.exit_code, found.reason, found.again) == (ending, 137, reason, False)


def test_a_rescheduled_task_runs_again_whatever_ended_it() -> None:
    task = samples.placed(intent=Intent.RESCHEDULE, intent_at=NOW + 50)
    assert outcome.of_exit(task, exited(137), left(), looked=True, boot=AFTER, down=DOWN, now=NOW + 100).again
    assert outcome.of_missing(task, None, boot=AFTER, now=NOW + 100).again
    assert outcome.of_lost(task, left(0), silent=600, now=NOW + 100).again


# --- a run that is gone ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "result", "boot", "ending", "code", "reason"),
    [
        (RUN, None, AFTER, THE_NODE, 137, RENEWED),
        (RUN, left(), AFTER, THE_NODE, 137, RENEWED),
        (RUN, left(143, told=True), AFTER, THE_NODE, 137, RENEWED),
        (samples.placed(started_at=None, status=TaskStatus.STARTING), None, AFTER, THE_NODE, 137, RENEWED),
        (RUN, left(3), AFTER, THE_COMMAND, 3, None),
        (RUN, left(0), AFTER, THE_COMMAND, 0, None),
        (RUN, None, BEFORE, Ending.LOST, 137, None),
        (RUN, left(), None, Ending.LOST, 137, None),
        (RUN, left(143, told=True), BEFORE, THE_COMMAND, 143, None),
    ],
)  # fmt: skip
def test_a_missing_run_disappeared_with_its_node_s_disk_or_was_removed_by_somebody(
    task: Placed, result: Result | None, boot: Boot | None, ending: Ending, code: int, reason: str | None
) -> None:
    found = outcome.of_missing(task, result, boot=boot, now=NOW + 100)
    assert (found.ending, found.exit_code) == (ending, code)
    assert reason is None or found.reason == reason


def test_clocks_of_hosts_that_disagree_do_not_blame_the_node_for_a_removed_run() -> None:
    hours_ahead = Boot(at=NOW + 7200, ago=200.0)  # by its own clock after the start; 200 seconds ago it was before
    assert outcome.of_missing(RUN, None, boot=hours_ahead, now=NOW + 100).ending is Ending.LOST


# --- a node that is given up --------------------------------------------------


@pytest.mark.parametrize(
    ("result", "ending", "code", "reason", "ended_at"),
    [
        (None, THE_NODE, 137, SILENT, NOW + 700),
        (left(), THE_NODE, 137, SILENT, NOW + 700),
        (left(143, told=True), THE_NODE, 137, SILENT, NOW + 700),
        (left(0), THE_COMMAND, 0, LEFT_BEHIND, NOW + 9),
        (left(7), THE_COMMAND, 7, LEFT_BEHIND, NOW + 9),
    ],
)
def test_a_run_of_a_lost_node_ended_by_its_own_record_or_by_the_node(
    result: Result | None, ending: Ending, code: int, reason: str, ended_at: float
) -> None:
    found = outcome.of_lost(RUN, result, silent=600, now=NOW + 700)
    assert (found.ending, found.exit_code, found.reason, found.ended_at) == (ending, code, reason, ended_at)


def test_a_run_that_ended_before_the_kill_was_requested_keeps_its_code() -> None:
    task = samples.placed(intent=Intent.KILL, intent_at=NOW + 50)
    assert outcome.of_lost(task, left(5), silent=600, now=NOW + 700).exit_code == 5


def silence(seconds: float, tries: int) -> UnreachableNode:
    return UnreachableNode(samples.NODE, NOW, NOW + seconds, seconds, tries, "gone")


@pytest.mark.parametrize(
    ("seconds", "tries", "lost"),
    [(599.0, 100, False), (600.0, TRIES, True), (6000.0, TRIES - 1, False), (0.0, 1, False)],
)
def test_a_node_is_lost_after_a_time_and_several_tries(seconds: float, tries: int, lost: bool) -> None:
    assert silence(seconds, tries).is_lost(600) is lost


# --- the task's next state -------------------------------------------------------------------

FAILED = outcome.Outcome(Ending.NODE_FAILED, 137, SILENT, NOW, NOW + 600)


def after(whole: Task, **policy: Any) -> Transition:
    values = {"strategy": 3, "delay": 5, **policy}
    task = samples.placed(whole.id, whole.attempt, intent=whole.intent)
    return restarts.after_node_failure(task, whole, FAILED, policy=FailurePolicy.model_validate(values), now=NOW + 600)


def failed_before(times: int, **fields: Any) -> Task:
    failure = Failure(reason=["earlier"] * times, nodes=["node0"] * times, count=times)
    return samples.task(status=TaskStatus.RUNNING, attempt=times + 1, failure=failure, restarts=2, **fields)


@pytest.mark.parametrize(
    ("times", "restarts", "strategy", "again"),
    [
        (0, 2, 3, True),
        (1, 2, 3, True),
        (2, 2, 3, False),
        (0, 0, 3, False),
        (0, 2, 0, False),
        (1, 5, 1, False),
        (0, 5, 1, True),
    ],
)
def test_a_task_is_restarted_as_often_as_it_asked_for_and_the_policy_allows(
    times: int, restarts: int, strategy: int, again: bool
) -> None:
    whole = failed_before(times)
    whole.spec.restarts = restarts
    move = after(whole, strategy=strategy)
    assert move.new is (TaskStatus.PENDING if again else TaskStatus.OVER)
    assert move.fields["failure"] == {
        "reason": ["earlier"] * times + [SILENT],
        "nodes": ["node0"] * times + [samples.NODE],
        "count": times + 1,
    }


@pytest.mark.parametrize(("times", "wait"), [(0, 5), (1, 10)])
def test_a_restart_waits_longer_each_time_and_keeps_its_place_in_the_queue(times: int, wait: float) -> None:
    move = after(failed_before(times))
    assert move.fields["not_before"] == NOW + 600 + wait
    assert "queued_at" not in move.fields
    assert move.fields["started_at"] is None
    assert move.fields["remark"] is IntentResult.RESCHEDULED
    assert move.fields["reason"] == f"restart {times + 1} of 2: {SILENT}"


def test_no_delay_is_longer_than_a_day() -> None:
    assert restarts.delay(FailurePolicy(strategy=100, delay=3600), 99) == 24 * 3600


@pytest.mark.parametrize(("skip", "avoid"), [(True, ["node0", samples.NODE]), (False, ["node0"])])
def test_the_node_that_failed_it_is_avoided_where_that_is_configured(skip: bool, avoid: list[str]) -> None:
    move = after(failed_before(1, avoid=["node0"]), skip_failed_nodes=skip)
    assert move.fields["avoid"] == avoid
    assert move.fields["shape"] == f"cpu=1 ram=1 avoid={','.join(avoid)}"


def test_a_kill_during_the_decision_is_not_lost() -> None:
    assert after(failed_before(0)).intents == [None]
    assert after(failed_before(0, intent=Intent.SUSPEND)).intents == [Intent.SUSPEND]


def test_an_end_by_the_node_has_its_reason_and_counts_as_failed_for_dependent_tasks() -> None:
    move = after(failed_before(2))
    assert (move.fields["ending"], move.fields["exit_code"], move.fields["reason"]) == (
        Ending.NODE_FAILED,
        137,
        SILENT,
    )
    assert move.fields["settled"] is False
    assert move.fields["cause"] is None


def test_an_attempt_with_a_successor_is_charged_for_its_usage() -> None:
    row = accounting.row_of_task(failed_before(1, gpus=2), FAILED)
    assert row is not None
    assert (row.id, row.seconds, row.gpus) == ("1-2", 600.0, 2)


# --- a stop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "warn"),
    [(None, False), (TOO_LONG, True), (Cause(ending=Ending.QUOTA_REACHED, reason="too much"), False)],
)
def test_a_task_that_ran_too_long_is_warned(cause: Cause | None, warn: bool) -> None:
    task = samples.placed(intent=Intent.KILL, cause=cause)
    (stop,) = reconcile([task], [samples.seen()], others={}, whole=True)
    assert stop == Stop(samples.seen().handle, warn=warn)
