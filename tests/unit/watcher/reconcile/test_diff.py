"""The pure parts of the watcher: reconciling, outcomes of runs, accounting."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.watcher.reconcile import accounting, outcome
from services.watcher.reconcile.diff import (
    Action,
    Known,
    LookForMissing,
    NoteEnd,
    NotePause,
    NoteRunning,
    Pause,
    RemoveStray,
    Resume,
    Stop,
    reconcile,
)
from shared.broker import broker
from shared.executors.types import Circumstances, Handle, Observation, RunState
from shared.lifecycle import ACTIVE, Ending, Intent, TaskStatus
from shared.models.attempt_files import Result, Word
from shared.models.work import Placed
from tests.support import samples

NOW = samples.NOW
HANDLE = Handle(samples.NODE, 1, 1)
STARTING, RUNNING = TaskStatus.STARTING, TaskStatus.RUNNING

# --- reconcile --------------------------------------------------------------------------------


def kinds(actions: list[Action]) -> list[type]:
    return [type(action) for action in actions]


EXPECTED: dict[tuple[TaskStatus, bool, RunState | None], list[type]] = {
    # (recorded, kill requested, observed): actions
    (STARTING, False, None): [],
    (STARTING, False, RunState.CREATED): [],
    (STARTING, False, RunState.RUNNING): [NoteRunning],
    (STARTING, False, RunState.PAUSED): [NoteRunning],
    (STARTING, False, RunState.EXITED): [NoteEnd],
    (STARTING, True, None): [],
    (STARTING, True, RunState.CREATED): [],
    (STARTING, True, RunState.RUNNING): [NoteRunning, Stop],
    (STARTING, True, RunState.PAUSED): [NoteRunning, Stop],
    (STARTING, True, RunState.EXITED): [NoteEnd],
    (RUNNING, False, None): [LookForMissing],
    (RUNNING, False, RunState.CREATED): [],
    (RUNNING, False, RunState.RUNNING): [],
    (RUNNING, False, RunState.PAUSED): [NotePause],
    (RUNNING, False, RunState.EXITED): [NoteEnd],
    (RUNNING, True, None): [LookForMissing],
    (RUNNING, True, RunState.CREATED): [],
    (RUNNING, True, RunState.RUNNING): [Stop],
    (RUNNING, True, RunState.PAUSED): [Stop],
    (RUNNING, True, RunState.EXITED): [NoteEnd],
}


def test_the_table_below_leaves_no_case_out() -> None:
    assert set(EXPECTED) == set(itertools.product((STARTING, RUNNING), (False, True), (*RunState, None)))


@pytest.mark.parametrize(("status", "kill", "state"), list(EXPECTED))
def test_record_and_reality_are_brought_together(status: TaskStatus, kill: bool, state: RunState | None) -> None:
    task = samples.placed(status=status, intent=Intent.KILL if kill else None)
    observed = [samples.seen(state=state)] if state else []
    actions = reconcile([task], observed, others={}, whole=True)
    assert kinds(actions) == EXPECTED[status, kill, state]


@pytest.mark.parametrize(("status", "kill", "state"), list(EXPECTED))
def test_a_partial_list_says_nothing_about_other_runs(status: TaskStatus, kill: bool, state: RunState | None) -> None:
    task = samples.placed(status=status, intent=Intent.KILL if kill else None)
    observed = [samples.seen(state=state)] if state else []
    actions = reconcile([task], observed, others={}, whole=False)
    assert kinds(actions) == ([] if state is None else EXPECTED[status, kill, state])


@pytest.mark.parametrize(
    ("intent", "actions"),
    [
        (Intent.RUN, []),
        (Intent.KILL, [Stop(HANDLE)]),
        (Intent.RESCHEDULE, [Stop(HANDLE)]),
        (Intent.SUSPEND, [Pause(HANDLE)]),
        (Intent.RESUME, [Resume(HANDLE)]),
    ],
)
def test_the_intent_of_a_running_task_is_carried_out(intent: Intent, actions: list[Action]) -> None:
    assert reconcile([samples.placed(intent=intent)], [samples.seen()], others={}, whole=True) == actions


@pytest.mark.parametrize(
    ("state", "fields", "actions"),
    [
        (RunState.PAUSED, {}, [NotePause(HANDLE, paused=True)]),
        (RunState.PAUSED, {"is_noted_paused": True}, []),
        (RunState.PAUSED, {"suspended": True}, []),
        (RunState.PAUSED, {"suspended": True, "is_noted_paused": True}, [NotePause(HANDLE, paused=False)]),
        (RunState.PAUSED, {"intent": Intent.SUSPEND}, [Pause(HANDLE)]),
        (RunState.RUNNING, {"is_noted_paused": True}, [NotePause(HANDLE, paused=False)]),
        (RunState.RUNNING, {"suspended": True}, []),
    ],
)
def test_a_pause_by_others_is_recorded_while_it_lasts(
    state: RunState, fields: dict[str, Any], actions: list[Action]
) -> None:
    assert reconcile([samples.placed(**fields)], [samples.seen(state=state)], others={}, whole=True) == actions


def test_an_action_names_its_task_and_run() -> None:
    task, seen = samples.placed(status=STARTING, intent=Intent.KILL), samples.seen(started_at=NOW + 1)
    assert reconcile([task], [seen], others={}, whole=True) == [NoteRunning(task, NOW + 1), Stop(HANDLE)]
    ended = samples.seen(state=RunState.EXITED, exit_code=3)
    assert reconcile([task], [ended], others={}, whole=True) == [NoteEnd(task, ended)]
    running = samples.placed()
    assert reconcile([running], [], others={}, whole=True) == [LookForMissing(running, HANDLE)]


STRAYS: list[tuple[Known | None, str | None]] = [
    (None, "there is no such task"),
    # an earlier attempt than the recorded one, whatever the task's state
    *((Known(2, status, settled), "the task is at attempt 2") for status in TaskStatus for settled in (True, False)),
    # the recorded attempt
    (Known(1, TaskStatus.CREATED, True), "the task is created"),
    (Known(1, TaskStatus.PENDING, True), "the task is pending"),
    (Known(1, STARTING, True), None),
    (Known(1, RUNNING, True), None),
    (Known(1, TaskStatus.OVER, False), None),
    (Known(1, TaskStatus.OVER, True), "the task is over"),
    (Known(1, TaskStatus.ARCHIVED, False), None),
    (Known(1, TaskStatus.ARCHIVED, True), "the task is archived"),
    # a later attempt: placed meanwhile
    *((Known(0, status, True), None) for status in sorted(ACTIVE)),
    (Known(0, TaskStatus.OVER, False), "the task is over since attempt 0"),
    (Known(0, TaskStatus.ARCHIVED, True), "the task is archived since attempt 0"),
]


@pytest.mark.parametrize(("known", "why"), STRAYS)
@pytest.mark.parametrize("state", list(RunState))
def test_a_run_without_a_place_is_a_stray_unless_the_task_may_just_have_moved(
    known: Known | None, why: str | None, state: RunState
) -> None:
    others = {} if known is None else {1: known}
    actions = reconcile([], [samples.seen(state=state)], others=others, whole=True)
    assert actions == ([] if why is None else [RemoveStray(HANDLE, why)])


def test_a_run_of_an_earlier_attempt_never_ends_the_later_one() -> None:
    task = samples.placed(attempt=2)
    old = samples.seen(attempt=1, state=RunState.EXITED, exit_code=0)
    actions = reconcile([task], [old, samples.seen(attempt=2)], others={1: Known(2, RUNNING, True)}, whole=True)
    assert actions == [RemoveStray(old.handle, "the task is at attempt 2")]


@given(
    st.lists(
        st.builds(
            samples.placed,
            st.integers(1, 6),
            st.integers(1, 3),
            st.sampled_from([STARTING, RUNNING]),
            intent=st.sampled_from([None, Intent.KILL]),
        ),
        unique_by=lambda task: task.id,
    ),
    st.lists(
        st.builds(samples.seen, st.integers(1, 8), st.integers(1, 3), st.sampled_from(RunState)),
        unique_by=lambda seen: (seen.handle.task_id, seen.handle.attempt),
    ),
)
def test_nothing_that_is_recorded_as_placed_is_ever_removed_as_a_stray(
    recorded: list[Placed], observed: list[Observation]
) -> None:
    others = {task.id: Known(task.attempt, task.status, True) for task in recorded}
    keys = {(task.id, task.attempt) for task in recorded}
    actions = reconcile(recorded, observed, others=others, whole=True)
    for action in actions:
        if isinstance(action, RemoveStray):
            assert (action.handle.task_id, action.handle.attempt) not in keys
    ended = [action.task.id for action in actions if isinstance(action, NoteEnd | LookForMissing)]
    assert len(ended) == len(set(ended))


# --- outcome ------------------------------------------------------------------------------------


def exited(code: int | None, **fields: Any) -> Observation:
    return samples.seen(state=RunState.EXITED, exit_code=code, **{"started_at": NOW, "ended_at": NOW + 10, **fields})


def result(code: int | None = None, **fields: Any) -> Result:
    times = {"started_at": NOW + 1, "ended_at": NOW + 9 if code is not None else None}
    return Result(exit_code=code, **{**times, **fields})


def said(code: int, *words: Word) -> Result:
    return result(code, words=frozenset(words))


def around(*commands: str, image: str | None = None) -> Circumstances:
    return Circumstances(image, commands=commands)


RUN = samples.placed()
NO_BASH = "the image busybox:latest has no /bin/bash, which the first line of the script names"
NO_EXEC = (
    f"shared_dir is mounted noexec on {RUN.node}: scripts whose first line names an interpreter cannot be executed"
)
MARK = "the script begins with a byte order mark, so that its `#!` is not seen and /bin/sh runs it; save it as UTF-8 without one"
BLANK = "the script does not begin with `#!`, so that its `#!` is not seen and /bin/sh runs it; remove what stands before it"
GAVE = f"somebody on {RUN.node} gave it"
SEGV = "exit code 139, which shells give for an end by SIGSEGV: an access to memory that is not its own"
TO_KILL = samples.placed(intent=Intent.KILL, intent_at=NOW + 5)
KILLED_BY = "killed by its owner or an admin"
NO_WRITE = "the task's directory could not be written to from the container"
MEMORY = "out of memory: it used more than the 1 GB it asked for"
CHILD = "it ended well, but a process of it was killed at its memory limit of 1 GB"
GONE = "its container was removed by somebody else while it ran"
GONE_WITH_CODE = "its container was removed by somebody else; the exit code is the one it left in its directory"
TWICE = "its container was started a second time; how its first run ended is not known"
NOT_EXECUTED = "exit code 126, which shells give for a program that cannot be executed; god.err may name it"
NOT_FOUND = "exit code 127, which shells give for a program that was not found; god.err may name it"
FULL = "the disk of shared_dir is full (or has no inodes left): there was no room for the end of the command"
NO_OUTPUT = "god.log and god.err could not be opened in the task's directory"


@pytest.mark.parametrize(
    ("task", "seen", "left", "looked", "ending", "code", "reason"),
    [
        # the command's own code
        (RUN, exited(0), None, False, Ending.EXITED, 0, None),
        (RUN, exited(3), None, False, Ending.EXITED, 3, None),
        (RUN, exited(124), None, False, Ending.EXITED, 124, None),
        # codes that may not be the command's: the wrapper's record counts
        (RUN, exited(125), result(125), True, Ending.EXITED, 125, None),
        (RUN, exited(126), result(126), True, Ending.EXITED, 126, NOT_EXECUTED),
        (RUN, exited(127), result(127), True, Ending.EXITED, 127, NOT_FOUND),
        (RUN, exited(255), result(255), True, Ending.EXITED, 255, None),
        (RUN, exited(143), result(143), True, Ending.EXITED, 143, None),
        (RUN, exited(137), result(137), True, Ending.EXITED, 137, None),
        (RUN, exited(137), result(0), True, Ending.EXITED, 0, None),
        (RUN, exited(137), result(None), True, Ending.EXITED, 137, None),
        (RUN, exited(None), result(4), True, Ending.EXITED, 4, None),
        (RUN, exited(None), None, True, Ending.EXITED, None, None),
        # the command never began
        (RUN, exited(125), result(None, began=False), True, Ending.START_FAILED, 125, FULL),
        (RUN, exited(125), result(125, words=frozenset({Word.NO_OUTPUT})), True, Ending.START_FAILED, 125, NO_OUTPUT),
        # whatever happened to the files, "it did not begin" needs an observation
        (RUN, exited(127), None, True, Ending.EXITED, 127, NOT_FOUND),
        (RUN, exited(1), None, True, Ending.EXITED, 1, None),
        # an executor that waited for the command knows better than its files
        (RUN, exited(3), result(0), True, Ending.EXITED, 3, None),
        (RUN, exited(127), result(0), True, Ending.EXITED, 127, NOT_FOUND),
        (RUN, exited(125), None, True, Ending.START_FAILED, 125, NO_WRITE),
        (RUN, exited(137), None, True, Ending.EXITED, 137, None),
        # where the files were not read, the code counts
        (RUN, exited(127), None, False, Ending.EXITED, 127, NOT_FOUND),
        # an executor that waits for the command distinguishes a signal from a code, and is authoritative
        (RUN, exited(137, by_signal=False), None, False, Ending.EXITED, 137, None),
        (RUN, exited(137, by_signal=True, reason="by a signal"), result(0), True, Ending.EXITED, 137, "by a signal"),
        (RUN, exited(1, by_signal=False, reason="disk full"), None, False, Ending.EXITED, 1, "disk full"),
        (RUN, exited(137, lost=True, reason="nobody saw"), result(0), True, Ending.LOST, 137, "nobody saw"),
        (TO_KILL, exited(137, lost=True, reason="nobody saw"), None, False, Ending.KILLED, 137, KILLED_BY),
        # a second start found the attempt taken
        (RUN, exited(125), result(None), True, Ending.EXITED, 137, TWICE),
        # removed by somebody else, which kills the run first
        (RUN, exited(137, removed=True), result(None), True, Ending.LOST, 137, GONE),
        (RUN, exited(137, removed=True), None, True, Ending.LOST, 137, GONE),
        (RUN, exited(137, removed=True), result(3), True, Ending.EXITED, 3, None),
        (RUN, exited(0, removed=True), None, False, Ending.EXITED, 0, None),
        (TO_KILL, exited(137, removed=True), result(None), True, Ending.KILLED, 137, KILLED_BY),
        (RUN, exited(137, out_of_memory=True, removed=True), None, True, Ending.OUT_OF_MEMORY, 137, MEMORY),
        # memory
        (RUN, exited(137, out_of_memory=True), result(137), True, Ending.OUT_OF_MEMORY, 137, MEMORY),
        (RUN, exited(1, out_of_memory=True), None, False, Ending.OUT_OF_MEMORY, 1, MEMORY),
        (RUN, exited(0, out_of_memory=True), None, False, Ending.EXITED, 0, CHILD),
        (RUN, exited(137), result(137, words=frozenset({Word.OUT_OF_MEMORY})), True, Ending.OUT_OF_MEMORY, 137, MEMORY),
        # kills
        (TO_KILL, exited(143), result(143), True, Ending.KILLED, 137, KILLED_BY),
        (TO_KILL, exited(137), None, True, Ending.KILLED, 137, KILLED_BY),
        (TO_KILL, exited(0), None, False, Ending.KILLED, 137, KILLED_BY),
        (TO_KILL, exited(137, out_of_memory=True), None, False, Ending.KILLED, 137, KILLED_BY),
        (TO_KILL, exited(127), None, True, Ending.KILLED, 137, KILLED_BY),
        # it had ended before the kill was requested
        (TO_KILL, exited(0, ended_at=NOW + 4), None, False, Ending.EXITED, 0, None),
        (TO_KILL, exited(137, ended_at=NOW + 4, out_of_memory=True), None, False, Ending.OUT_OF_MEMORY, 137, MEMORY),
        # its code is that of a stop, by clocks that differ a little
        (TO_KILL, exited(143, ended_at=NOW + 4.9), result(143), True, Ending.KILLED, 137, KILLED_BY),
        (TO_KILL, exited(137, ended_at=NOW + 4.9), None, True, Ending.KILLED, 137, KILLED_BY),
        (samples.placed(intent=Intent.KILL), exited(0), None, False, Ending.KILLED, 137, KILLED_BY),
        (samples.placed(intent=Intent.SUSPEND), exited(0), None, False, Ending.EXITED, 0, None),
    ],
)  # fmt: skip
def test_a_run_that_ended_has_its_outcome(
    task: Placed,
    seen: Observation,
    left: Result | None,
    looked: bool,
    ending: Ending,
    code: int | None,
    reason: str | None,
) -> None:
    found = outcome.of_exit(task, seen, left, looked=looked, now=NOW + 20)
    assert (found.ending, found.exit_code, found.reason) == (ending, code, reason)
    assert found.ended_at == seen.ended_at


@pytest.mark.parametrize(
    ("seen", "left", "around", "script", "ending", "reason"),
    [
        # the image, as inspected
        (exited(127), None, around(image="has no /bin/sh"), None, Ending.START_FAILED, "the image busybox:latest has no /bin/sh"),
        (exited(1), None, around(image="is for arm"), None, Ending.START_FAILED, "the image busybox:latest is for arm"),
        (exited(126), None, around(image="has odd"), None, Ending.START_FAILED, "the image busybox:latest has odd"),
        (exited(127), result(127), around(image="has no /bin/sh"), None, Ending.EXITED, NOT_FOUND),
        # the first line of the script, as the wrapper saw it
        (exited(127), said(127, Word.NO_INTERPRETER), around(), "#!/bin/bash\n", Ending.EXITED, NO_BASH),
        (exited(126), said(126, Word.NO_INTERPRETER), around(), "#!/bin/bash\n", Ending.EXITED, NO_BASH),
        (exited(126), said(126, Word.NO_EXEC), around(), "#!/bin/bash\n", Ending.EXITED, NO_EXEC),
        (exited(126), said(126, Word.NO_EXEC), around(), None, Ending.EXITED, NOT_EXECUTED),
        # the first lines of the script, which a shell read
        (exited(127), result(127), around(), "\ufeff#!/usr/bin/python3\n", Ending.EXITED, MARK),
        (exited(127, by_signal=False), None, around(), "\ufeff#!/usr/bin/python3\n", Ending.EXITED, MARK),
        (exited(2), result(2), around(), "\n#!/usr/bin/python3\n", Ending.EXITED, BLANK),
        (exited(2), result(2), around(), "grep x y\n", Ending.EXITED, None),
        (exited(127), result(127), around(), "#!" + "/x" * 80 + "\n", Ending.EXITED, NOT_FOUND),
        # somebody else
        (exited(143), said(143, Word.STOPPED), around("docker stop"), None, Ending.EXITED, f"{GAVE}: docker stop"),
        (exited(137), result(), around("docker kill (SIGKILL)"), None, Ending.EXITED, f"{GAVE}: docker kill (SIGKILL)"),
        # nobody
        (exited(143), result(143), around(), None, Ending.EXITED, None),
        (exited(137), result(137), around(), None, Ending.EXITED, None),
        # signals by their causes
        (exited(139), result(139), around(), None, Ending.EXITED, SEGV),
        (exited(130), result(130), around(), None, Ending.EXITED, "exit code 130, which shells give for an end by SIGINT"),
        (exited(128), result(128), around(), None, Ending.EXITED, None),
        (exited(254), result(254), around(), None, Ending.EXITED, None),
    ],
)  # fmt: skip
def test_an_end_is_explained_by_observations_only(
    seen: Observation,
    left: Result | None,
    around: Circumstances,
    script: str | None,
    ending: Ending,
    reason: str | None,
) -> None:
    found = outcome.of_exit(RUN, seen, left, looked=True, now=NOW + 20, around=around, script=script)
    assert (found.ending, found.exit_code, found.reason) == (ending, seen.exit_code, reason)


@pytest.mark.parametrize(
    ("recorded", "seen", "left", "looked", "started_at", "ended_at"),
    [
        (NOW, exited(0, started_at=NOW + 2), None, False, NOW, NOW + 10),
        (None, exited(0, started_at=NOW + 2), None, False, NOW + 2, NOW + 10),
        (None, exited(0, started_at=None), result(0), True, NOW + 1, NOW + 10),
        (None, exited(0, started_at=None), None, True, NOW + 10, NOW + 10),
        (NOW, exited(0, ended_at=None), result(0), True, NOW, NOW + 9),
        (NOW, exited(0, ended_at=None), None, False, NOW, NOW + 20),
        # clocks that disagree give no negative time
        (NOW + 50, exited(0), None, False, NOW + 10, NOW + 10),
        (NOW, exited(125), None, True, None, NOW + 10),
        # times in the files are the user's: limited by those we observed
        (None, exited(0, started_at=None), result(0, started_at=5.0), True, NOW, NOW + 10),
        (NOW, exited(0, ended_at=None), result(0, ended_at=5.0), True, NOW, NOW + 1),
        (NOW, exited(0, ended_at=None), result(0, ended_at=NOW + 1e9), True, NOW, NOW + 20),
    ],
)
def test_the_times_of_a_run_are_the_best_that_are_known(
    recorded: float | None,
    seen: Observation,
    left: Result | None,
    looked: bool,
    started_at: float | None,
    ended_at: float,
) -> None:
    found = outcome.of_exit(samples.placed(started_at=recorded), seen, left, looked=looked, now=NOW + 20)
    assert (found.started_at, found.ended_at) == (started_at, ended_at)


@pytest.mark.parametrize(
    ("task", "left", "ending", "code", "reason", "ended_at"),
    [
        (RUN, None, Ending.LOST, 137, GONE, NOW + 20),
        (RUN, result(None), Ending.LOST, 137, GONE, NOW + 20),
        (RUN, result(3), Ending.EXITED, 3, GONE_WITH_CODE, NOW + 9),
        (TO_KILL, None, Ending.KILLED, 137, KILLED_BY, NOW + 20),
        (TO_KILL, result(0), Ending.KILLED, 137, KILLED_BY, NOW + 20),
    ],
)  # fmt: skip
def test_a_run_that_is_gone_has_its_outcome_too(
    task: Placed, left: Result | None, ending: Ending, code: int, reason: str, ended_at: float
) -> None:
    found = outcome.of_missing(task, left, now=NOW + 20)
    assert (found.ending, found.exit_code, found.reason) == (ending, code, reason)
    assert (found.started_at, found.ended_at) == (NOW, ended_at)


@pytest.mark.parametrize(
    ("code", "doubtful"), [(None, True), (0, False), (1, False), (124, False), (125, True), (137, True), (255, True)]
)
def test_a_code_is_doubtful_where_it_may_not_be_the_command_s_own(code: int | None, doubtful: bool) -> None:
    assert outcome.is_doubtful(exited(code)) is doubtful


# --- accounting ----------------------------------------------------------------------------------


def test_an_attempt_that_ran_has_a_row() -> None:
    row = accounting.row_of(samples.ended(7, 2))
    assert row is not None
    assert (row.id, row.task, row.attempt) == ("7-2", 7, 2)
    assert (row.user, row.project, row.cpu, row.ram, row.gpus) == ("alice", "default", 2.0, 3.0, 0)
    assert (row.seconds, row.day) == (10.0, "2023_11_14")


def test_the_same_attempt_always_gives_the_same_row() -> None:
    assert accounting.row_of(samples.ended()) == accounting.row_of(samples.ended())
    assert accounting.row_of(samples.ended(1, 1)) != accounting.row_of(samples.ended(1, 2))


def test_an_attempt_that_never_ran_used_nothing() -> None:
    assert accounting.row_of(samples.ended(started_at=None)) is None


def test_no_time_is_negative_where_clocks_disagree() -> None:
    row = accounting.row_of(samples.ended(started_at=NOW + 100, ended_at=NOW))
    assert row is not None
    assert row.seconds == 0


# --- hints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "pairs"),
    [
        ("ended 1:1", [(1, 1)]),
        ("ended 1:1 22:3", [(1, 1), (22, 3)]),
        ("ended", []),
        ("ended ", []),
        ("ended 1", []),
        ("ended 1:", []),
        ("ended :1 x:1 1:x -1:1 1:-1 1.5:1 2:2", [(2, 2)]),
        ("endedx 1:1", []),
        ("queue", []),
        ("resync", []),
        ("", []),
        ("1:1", []),
        ("ended 1:1:1", []),
        (f"ended {'1' * 5000}:1 2:2", [(2, 2)]),
        ("ended \u00b2:1", []),
        ("ended 1:\u0662", []),
    ],
)
def test_a_hint_of_ends_is_read_and_junk_in_it_is_not(hint: str, pairs: list[tuple[int, int]]) -> None:
    assert broker.parse_ended(hint) == pairs


@given(st.text())
def test_no_hint_breaks_its_reader(hint: str) -> None:
    broker.parse_ended(hint)


@given(st.text(alphabet="0123456789: \u00b2\u0662", max_size=30))
def test_no_hint_of_ends_breaks_its_reader(text: str) -> None:
    broker.parse_ended(f"ended {text}")
