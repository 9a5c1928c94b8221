"""Decisions of quotas, on sums of finished and held usage over the window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler import quota_gate
from services.scheduler.quota_gate import Candidate
from shared.lifecycle import TaskStatus
from shared.models.quota import Amounts, Excess, Quota, Scope, ScopeKind, Taken, excesses
from shared.models.transitions import Transition
from shared.models.work import Pending
from tests.support import samples

ALICE = Scope(ScopeKind.USER, "alice")
LAB = Scope(ScopeKind.PROJECT, "lab")


@pytest.mark.parametrize(
    ("limit", "finished", "held", "need", "found"),
    [
        (Amounts(cpu=10), Amounts(), Amounts(), Amounts(cpu=10), []),
        (Amounts(cpu=10), Amounts(cpu=9), Amounts(), Amounts(cpu=1), []),
        (Amounts(cpu=10), Amounts(cpu=9), Amounts(), Amounts(cpu=2), [("cpu", True)]),
        (Amounts(cpu=10), Amounts(cpu=5), Amounts(cpu=4), Amounts(cpu=2), [("cpu", False)]),
        (Amounts(cpu=10), Amounts(cpu=5), Amounts(cpu=4), Amounts(cpu=1), []),
        (Amounts(ram=4), Amounts(), Amounts(ram=3), Amounts(cpu=99, ram=2), [("ram", False)]),
        (Amounts(gpus=2), Amounts(gpus=2), Amounts(), Amounts(gpus=1), [("gpus", True)]),
        (Amounts(gpus=2), Amounts(gpus=2), Amounts(), Amounts(gpus=0), []),
        (Amounts(seconds=60), Amounts(seconds=59), Amounts(), Amounts(), []),
        (Amounts(seconds=60), Amounts(seconds=60), Amounts(), Amounts(), [("time", True)]),
        (Amounts(seconds=60), Amounts(seconds=30), Amounts(seconds=31), Amounts(), [("time", False)]),
        (Amounts(cpu=1, ram=1), Amounts(), Amounts(), Amounts(cpu=2, ram=2), [("cpu", True), ("ram", True)]),
        (Amounts(), Amounts(cpu=1e9, seconds=1e9), Amounts(), Amounts(cpu=1e9), []),
        (Amounts(cpu=0.3), Amounts(cpu=0.1), Amounts(cpu=0.1), Amounts(cpu=0.1), []),
    ],
)
def test_finished_usage_exceeds_a_quota_for_good_and_held_usage_for_now(
    limit: Amounts, finished: Amounts, held: Amounts, need: Amounts, found: list[tuple[str, bool]]
) -> None:
    excess = excesses(ALICE, Quota(limit, 0), Taken(finished, held), need)
    assert [(one.resource, one.final) for one in excess] == found


def test_the_text_of_an_excess_has_its_numbers() -> None:
    found = excesses(LAB, Quota(Amounts(cpu=10), 0), Taken(Amounts(cpu=5), Amounts(cpu=4)), Amounts(cpu=2))
    assert [one.text for one in found] == [
        "the cpu quota of project lab: 5 of 10 used, 4 held by tasks that run, 2 needed"
    ]


def candidate(task_id: int, cpus: float, user: str = "alice", project: str = "default") -> Candidate:
    task = samples.pending(task_id, cpus=cpus, user=user, project=project)
    return Candidate(task, Transition(task_id, 0, TaskStatus.PENDING, TaskStatus.STARTING, at=0))


def allowed(decision: quota_gate.Decision) -> list[int]:
    return [transition.task_id for transition in decision.allowed]


def test_placements_count_on_top_of_those_before_them() -> None:
    candidates = [candidate(1, 2), candidate(2, 2), candidate(3, 1), candidate(4, 5, user="bob")]
    decision = quota_gate.decide(candidates, {ALICE: Quota(Amounts(cpu=3), 0)}, {ALICE: Taken()})
    assert (allowed(decision), list(decision.rejected)) == ([1, 3, 4], [2])


def test_a_task_counts_against_its_user_and_against_its_project() -> None:
    limits = {ALICE: Quota(Amounts(cpu=10), 0), LAB: Quota(Amounts(cpu=3), 0)}
    candidates = [
        candidate(1, 2, project="lab"),
        candidate(2, 2, user="bob", project="lab"),
        candidate(3, 8),
        candidate(4, 1),
    ]
    decision = quota_gate.decide(candidates, limits, {ALICE: Taken(), LAB: Taken()})
    assert allowed(decision) == [1, 3]
    assert [excess.scope for excess in decision.rejected[2]] == [LAB]
    assert [excess.scope for excess in decision.rejected[4]] == [ALICE]


@given(
    st.lists(st.tuples(st.sampled_from(["alice", "bob"]), st.sampled_from(["default", "lab"]), st.integers(1, 5))),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 6),
)
def test_allowed_placements_never_exceed_a_limit(
    tasks: list[tuple[str, str, int]], user_limit: int, project_limit: int, finished: int
) -> None:
    limits = {
        scope: Quota(Amounts(cpu=limit), 0) for scope, limit in ((ALICE, user_limit), (LAB, project_limit)) if limit
    }
    candidates = [candidate(number, cpus, user, project) for number, (user, project, cpus) in enumerate(tasks)]
    before = dict.fromkeys(limits, Taken(finished=Amounts(cpu=finished)))
    decision = quota_gate.decide(candidates, limits, before)
    assert sorted([*allowed(decision), *decision.rejected]) == list(range(len(tasks)))
    chosen: list[Pending] = [one.task for one in candidates if one.task.id not in decision.rejected]
    for scope, quota in limits.items():
        mine = sum(task.cpus for task in chosen if scope.name in (task.user, task.project))
        assert not mine or finished + mine <= quota.limit.cpu


amounts = st.builds(Amounts, *[st.integers(0, 4)] * 4)


@given(amounts, amounts, amounts, amounts, amounts)
def test_an_excess_of_one_task_tells_for_every_other_whether_it_exceeds_too(
    limit: Amounts, finished: Amounts, held: Amounts, need: Amounts, other: Amounts
) -> None:
    def over(amounts: Amounts) -> dict[str, Excess]:
        return {excess.resource: excess for excess in excesses(ALICE, Quota(limit, 0), Taken(finished, held), amounts)}

    too_much, for_other = over(need), over(other)
    for resource, excess in too_much.items():
        assert excess.concerns(other) is (resource in for_other)
