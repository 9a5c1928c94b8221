"""A stored task in the words of the Web API, which its clients compare letter for letter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.admission import submission
from services.api.wire import task as wire
from services.api.wire.submission import TaskIn
from shared.executors.types import Feature
from shared.lifecycle import Ending, Intent, IntentResult, TaskStatus
from shared.models.node import StoredReason, UnreachableNode
from shared.models.task import Array, Failure, Task, TaskVolume
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from tests.support import samples

DIRECTORIES = TaskDirectories(Path("/shared"))
NOW = samples.NOW
C, P, S, R, O, A = TaskStatus  # noqa: E741


def shown(task: Task, verdict: StoredReason | None = None) -> dict[str, Any]:
    return wire.shown(task, directories=DIRECTORIES, pending_reason=verdict)


def of(status: TaskStatus, **fields: Any) -> Task:
    """Make a task as it is stored in this status."""
    if status in (S, R, O, A):
        fields = {"placement": samples.placement(), "attempt": 1, **fields}
    if status in (R, O, A):
        fields = {"started_at": NOW + 5, **fields}
    if status in (O, A):
        fields = {"ended_at": NOW + 65, "exit_code": 3, "ending": Ending.EXITED, **fields}
    return samples.task(7, status, **fields)


KILLED: dict[str, Any] = {"ending": Ending.KILLED, "exit_code": 137}
NEVER_RAN: dict[str, Any] = {"placement": None, "attempt": 0, "started_at": None}


@pytest.mark.parametrize(
    ("task", "primary", "secondary", "container"),
    [
        (of(C), "created", None, None),
        (of(P), "pending", None, None),
        (of(S), "pending", None, "initializing"),
        (of(R), "running", None, "ready"),
        (of(O), "over", None, "terminated"),
        (of(A), "archived", None, None),
        (of(C, intent=Intent.KILL), "created", "kill requested", None),
        (of(P, intent=Intent.KILL), "pending", "kill requested", None),
        (of(S, intent=Intent.KILL), "pending", "kill requested", "initializing"),
        (of(R, intent=Intent.KILL), "running", "kill requested", "ready"),
        (of(R, intent=Intent.SUSPEND), "running", "suspend requested", "ready"),
        (of(R, intent=Intent.RESUME), "running", "resume requested", "ready"),
        (of(R, intent=Intent.RESCHEDULE), "running", "reschedule requested", "ready"),
        (of(R, intent=Intent.RUN), "running", None, "ready"),
        (of(O, **KILLED), "over", "killed", "terminated"),
        (of(O, **KILLED, **NEVER_RAN), "over", "killed", "terminated"),
        (of(A, **KILLED), "archived", "killed", None),
        (of(O, ending=Ending.QUOTA_REACHED), "over", "quota reached", "terminated"),
        (of(O, ending=Ending.START_FAILED, exit_code=None, started_at=None), "over", None, "terminated"),
        (of(O, ending=Ending.OUT_OF_MEMORY), "over", None, "terminated"),
        (of(O, ending=Ending.LOST), "over", None, "terminated"),
        # An intent that was never cleared has no meaning for a finished task.
        (of(O, intent=Intent.KILL), "over", None, "terminated"),
    ],
)
def test_a_status_has_its_words(task: Task, primary: str, secondary: str | None, container: str | None) -> None:
    answer = shown(task)
    assert (answer["status"]["primary"], answer["status"]["secondary"]) == (primary, secondary)
    assert answer["container"]["status"] == container


# --- fields that clients test for -------------------------------------------------------------


@pytest.mark.parametrize("status", [C, P, S])
def test_before_a_task_runs_date_running_is_absent_and_date_over_null(status: TaskStatus) -> None:
    answer = shown(of(status))["status"]
    assert "date_running" not in answer
    assert (answer["date_over"], answer["duration"], answer["exitcode"]) == (None, None, None)


def test_while_a_task_runs_date_over_is_null() -> None:
    answer = shown(of(R))["status"]
    assert (answer["date_running"], answer["date_over"], answer["duration"]) == (NOW + 5, None, None)


def test_once_a_task_is_over_all_dates_are_there() -> None:
    answer = shown(of(O))["status"]
    assert (answer["date_running"], answer["date_over"], answer["duration"]) == (NOW + 5, NOW + 65, 60.0)


def test_a_task_that_never_ran_has_an_end_and_no_start() -> None:
    answer = shown(of(O, **KILLED, **NEVER_RAN))["status"]
    assert "date_running" not in answer
    assert (answer["date_over"], answer["duration"], answer["exitcode"]) == (NOW + 65, None, 137)


def test_a_duration_is_never_negative() -> None:
    assert shown(of(O, started_at=NOW + 100, ended_at=NOW))["status"]["duration"] == 0


@pytest.mark.parametrize(
    ("task", "meta"),
    [
        (of(C), None),
        (of(P), None),
        (of(S), None),
        (of(R), {"Node": {"Name": "node1"}}),
        (of(O), {"Node": {"Name": "node1"}, "State": {"ExitCode": 3}}),
        (of(O, exit_code=0), {"Node": {"Name": "node1"}, "State": {"ExitCode": 0}}),
        (of(A), {"Node": {"Name": "node1"}, "State": {"ExitCode": 3}}),
        (of(O, exit_code=None, started_at=None, ending=Ending.START_FAILED), None),
    ],
)
def test_the_meta_of_a_container_grows_with_its_life(task: Task, meta: dict[str, Any] | None) -> None:
    answer = shown(task)
    assert answer["container"]["meta"] == meta
    if meta and "State" in meta:
        assert answer["status"]["exitcode"] == meta["State"]["ExitCode"]


def test_the_task_directory_is_a_volume_of_every_task_that_was_placed() -> None:
    home = TaskVolume(name="home", acl="rw", path="/home/alice", mount="/mnt/home")
    task = of(R)
    task.spec.volumes = [home]
    assert shown(task)["container"]["volumes"] == [
        {"name": "home", "acl": "rw", "path": "/home/alice", "mount": "/mnt/home"},
        {"name": "go-docker", "acl": "rw", "path": "/shared/tasks/0/7", "mount": "/mnt/go-docker"},
    ]
    assert shown(of(P))["container"]["volumes"] == []


def test_a_task_has_every_documented_field() -> None:
    answer = shown(of(O, failure=Failure(reason=["gone"], nodes=["n2"], count=1)))
    assert answer["status"]["failure"] == {"reason": ["gone"], "nodes": ["n2"], "count": 1}
    assert set(answer) == {
        *("id", "parent_task_id", "date", "notify", "meta", "user", "requirements", "container", "command", "status")
    }
    assert set(answer["requirements"]) == {
        *("cpu", "ram", "gpus", "array", "label", "tasks", "ports", "uris", "failure_policy", "network", "tmpstorage"),
        *("executor", "maxlifespan", "ticket_share", "depends"),
    }
    assert set(answer["container"]) == {
        *(
            "image",
            "volumes",
            "network",
            "id",
            "meta",
            "stats",
            "ports",
            "port_mapping",
            "root",
            "ip_address",
            "status",
            "urls",
        )
    }
    assert answer["requirements"]["array"] == {
        "values": None,
        "task_id": None,
        "nb_tasks": 0,
        "nb_tasks_over": 0,
        "tasks": [],
        "first_id": None,
        "max_concurrent": None,
    }
    assert set(answer["user"]) == {"id", "uid", "gid", "project"}
    assert answer["meta"]["tags"] == []
    assert answer["command"]["script"] == "/shared/tasks/0/7/cmd.sh"
    assert answer["container"]["id"] == "god-7-1"


PORTS = {"placement": samples.placement().model_copy(update={"ports": [10001, 10002]}), "ports": [80, 8888]}


@pytest.mark.parametrize(
    ("task", "address", "urls"),
    [
        (of(R, **PORTS), "n1.lab.org", ["http://n1.lab.org:10001", "http://n1.lab.org:10002"]),
        (of(S, **PORTS), "192.0.2.1", ["http://192.0.2.1:10001", "http://192.0.2.1:10002"]),
        (of(R, **PORTS), "2001:db8::1", ["http://[2001:db8::1]:10001", "http://[2001:db8::1]:10002"]),
        (of(R, **PORTS), None, []),
        (of(R), "n1.lab.org", []),
        (of(P), "n1.lab.org", []),
        (of(O, **PORTS), "n1.lab.org", []),
    ],
)
def test_ports_have_urls_while_the_task_is_on_a_node_with_a_public_address(
    task: Task, address: str | None, urls: list[str]
) -> None:
    container = wire.shown(task, directories=DIRECTORIES, pending_reason=None, address=address)["container"]
    assert container["urls"] == urls


def test_whole_numbers_are_shown_as_such() -> None:
    requirements = shown(samples.task(cpu=2.0, ram=0.5))["requirements"]
    assert orjson.dumps([requirements["cpu"], requirements["ram"], requirements["gpus"]]) == b"[2,0.5,0]"


# --- reasons ------------------------------------------------------------------------------------


def verdict(at: float) -> StoredReason:
    return StoredReason(id="cpu=1 ram=1", reason="needs 1 cpu: n1 has 0 free", at=at)


def test_a_pending_task_that_could_not_be_placed_shows_the_verdict_on_its_shape() -> None:
    answer = shown(of(P), verdict(NOW + 1))["status"]
    assert (answer["secondary"], answer["reason"]) == ("rejected by scheduler", "needs 1 cpu: n1 has 0 free")


def test_a_verdict_older_than_the_task_is_about_others() -> None:
    answer = shown(of(P), verdict(NOW - 1))["status"]
    assert (answer["secondary"], answer["reason"]) == (None, wire.WAITING_FOR_TURN)


@pytest.mark.parametrize("status", [C, S, R, O])
def test_a_verdict_is_only_shown_of_pending_tasks(status: TaskStatus) -> None:
    answer = shown(of(status), verdict(NOW + 1))["status"]
    assert answer["secondary"] is None
    assert answer["reason"] != verdict(NOW).reason


SILENCE = UnreachableNode(samples.NODE, NOW, NOW + 40, 40, 8, "gone")
NOT_KNOWN = f"node {samples.NODE} has not responded since 2023-11-14 22:13:20 UTC; the state of this task is unknown"


@pytest.mark.parametrize(
    ("task", "secondary", "reason"),
    [
        (of(S), "unknown", NOT_KNOWN),
        (of(R), "unknown", NOT_KNOWN),
        (of(R, remark=IntentResult.SUSPENDED), "unknown", NOT_KNOWN),
        (of(R, intent=Intent.KILL), "kill requested", NOT_KNOWN),
        (of(P), None, wire.WAITING_FOR_TURN),
        (of(O), None, None),
    ],
)
def test_a_task_on_a_node_that_does_not_answer_is_unknown(task: Task, secondary: str | None, reason: str) -> None:
    status = wire.status(task, pending_reason=None, unreachable=SILENCE)
    assert (status["secondary"], status["reason"]) == (secondary, reason)


def test_a_kill_request_is_shown_before_a_rejection() -> None:
    assert shown(of(P, intent=Intent.KILL), verdict(NOW + 1))["status"]["secondary"] == "kill requested"


def test_a_start_that_was_undone_says_why() -> None:
    assert shown(of(P, reason="n1 refused"))["status"]["reason"] == "n1 refused"


def test_the_end_of_a_task_is_shown() -> None:
    task = of(O, ending=Ending.OUT_OF_MEMORY, reason="out of memory")
    assert shown(task)["status"]["reason"] == "out of memory"


@given(
    st.sampled_from([C, P, S]),
    st.sampled_from([None, *Intent]),
    st.sampled_from([None, "", "some reason"]),
    st.sampled_from([None, verdict(NOW - 1), verdict(NOW), verdict(NOW + 1)]),
    st.sampled_from([None, samples.placement()]),
)
def test_a_task_that_waits_always_has_a_reason(
    status: TaskStatus, intent: Intent | None, reason: str | None, on_shape: StoredReason | None, placement: Any
) -> None:
    task = samples.task(1, status, intent=intent, reason=reason, placement=placement)
    assert shown(task, on_shape)["status"]["reason"]


@pytest.mark.parametrize("status", list(TaskStatus))
def test_a_task_that_was_read_can_be_sent_back_as_a_new_one(status: TaskStatus) -> None:
    copied = TaskIn.model_validate(orjson.loads(orjson.dumps(shown(of(status)))))
    settings = Settings().model_copy(update={"executor": "fake"})
    new = submission.admit(copied, owner=samples.user(), settings=settings, features=frozenset(Feature), now=NOW)
    assert new.spec == of(status).spec
    assert new.id == 0


# --- arrays and dependencies -------------------------------------------------------------------------


def array(**fields: Any) -> Array:
    return Array(**{"start": 2, "end": 20, "step": 3, "count": 7, "first_id": 8, "made": 4, "over": 3, **fields})


def test_an_array_runs_while_its_children_do() -> None:
    waits = samples.task(7, array=array(over=0))
    runs = samples.task(7, array=array(), started_at=NOW + 5)
    assert (shown(waits)["status"]["primary"], shown(waits)["container"]["meta"]) == ("pending", None)
    answer = shown(runs)
    assert (answer["status"]["primary"], answer["status"]["reason"]) == ("running", "3 of 7 children are over")
    assert (answer["status"]["date_running"], answer["container"]["meta"]) == (NOW + 5, {"Node": {"Name": "array"}})
    assert answer["requirements"]["array"] == {
        "values": "2:20:3",
        "task_id": None,
        "nb_tasks": 7,
        "nb_tasks_over": 3,
        "tasks": [8, 9, 10, 11, 12, 13, 14],
        "first_id": 8,
        "max_concurrent": None,
    }


def test_the_ids_of_a_large_array_are_listed_as_far_as_is_useful() -> None:
    listed = shown(samples.task(7, array=array(count=100_000)))["requirements"]["array"]["tasks"]
    assert (listed[0], len(listed)) == (8, 10_000)


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([3], "waits for task 3 to be over"),
        ([3, 4], "waits for tasks 3, 4 to be over"),
        (list(range(1, 9)), "waits for tasks 1, 2, 3, 4, 5 and 3 more to be over"),
    ],
)
def test_a_task_that_waits_for_others_names_them(ids: list[int], reason: str) -> None:
    answer = shown(samples.task(9, waiting_on=ids))["status"]
    assert (answer["primary"], answer["secondary"], answer["reason"]) == ("pending", None, reason)
