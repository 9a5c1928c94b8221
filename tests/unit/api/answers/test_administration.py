"""The pure parts of projects, guests, usage, users and maintenance."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.api.access import guests
from services.api.answers import public_config, usage_and_billing
from services.api.wire import project as project_wire
from services.api.wire import recipe as recipe_wire
from services.api.wire import user as user_wire
from services.scheduler.cluster import Cluster
from services.scheduler.placement import planning
from services.scheduler.policies.fifo import FifoPass
from services.scheduler.queue.book import Book
from services.scheduler.why_pending.node_verdicts import NodeReasons
from shared import clock, errors
from shared.models import project as projects
from shared.models import usage
from shared.models.project import Project
from shared.settings import DynamicField, Settings
from tests.support import samples

# --- maintenance ------------------------------------------------------------------------------


def cluster(*names: str) -> Cluster:
    made = Cluster()
    made.observe([samples.report(name) for name in names])
    return made


@pytest.mark.parametrize(
    ("maintained", "ready"),
    [((), {"n1", "n2"}), (("n1",), {"n2"}), (("all",), set()), (("n1", "n2"), set()), (("gone",), {"n1", "n2"})],
)
def test_a_node_in_maintenance_is_not_ready(maintained: tuple[str, ...], ready: set[str]) -> None:
    made = cluster("n1", "n2")
    made.maintain(maintained)
    states = {state.name: state for state in made.snapshot()}
    assert {name for name, state in states.items() if state.ready} == ready
    assert {state.reason for state in states.values() if not state.ready} <= {"in maintenance"}


def test_nothing_is_planned_in_maintenance_and_the_reason_says_so() -> None:
    made = cluster("n1")
    made.maintain(["all"])
    book = Book()
    book.add([samples.pending()])
    plan = planning.plan(FifoPass(book.lanes), made.snapshot(), limit=10)
    assert plan.placements == []
    assert "n1 is not ready (in maintenance)" in NodeReasons(made.snapshot()).sentence(samples.pending())
    made.maintain([])
    assert len(planning.plan(FifoPass(book.lanes), made.snapshot(), limit=10).placements) == 1


def test_only_an_end_of_maintenance_is_news() -> None:
    made = cluster("n1")
    assert not made.maintain(["n1"])
    assert not made.maintain(["n1", "all"])
    assert made.maintain(["n1"])
    assert made.maintain([])
    assert not made.maintain([])


def test_what_runs_on_a_node_in_maintenance_goes_on_holding_its_room() -> None:
    made = cluster("n1")
    made.begin_audit()
    made.end_audit([samples.placed(node="n1")])
    made.maintain(["n1"])
    (state,) = made.snapshot()
    assert state.free_cpus == state.cpus - 1


# --- guests ---------------------------------------------------------------------------------------


BIND = samples.user("visitor", uid=31000, gid=31001, sgids=[1])
OPEN = Settings.model_construct(guest_allow=True, guest_bind="visitor", guest_home_root=Path("/srv/guests"))


def test_a_guest_has_the_numbers_of_another_and_a_home_of_their_own() -> None:
    guest = samples.user("gast", guest=True, sgids=[5], home="/root", email="g@example.org")
    runs = guests.runs_as(guest, BIND, OPEN)
    assert runs == guest.model_copy(update={"uid": 31000, "gid": 31001, "sgids": [], "home": "/srv/guests/gast"})
    without = OPEN.model_copy(update={"guest_home_root": None})
    assert guests.runs_as(guest, BIND, without).home is None


def test_whoever_is_no_guest_is_left_alone() -> None:
    user = samples.user()
    assert guests.runs_as(user, None, Settings.model_construct(guest_allow=False)) is user


@pytest.mark.parametrize(("bind", "allowed"), [(None, True), (BIND, False), (None, False)])
def test_a_guest_runs_as_nobody_where_there_is_nobody_or_no_guests(bind: Any, allowed: bool) -> None:
    settings = OPEN.model_copy(update={"guest_allow": allowed})
    with pytest.raises(errors.NotAllowed):
        guests.runs_as(samples.user("gast", guest=True), bind, settings)


@pytest.mark.parametrize(
    "wrong",
    [{"guest_allow": True}, {"guest_home_root": "relative"}, {"dynamic_fields": [{"name": "$x"}]}],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_a_dynamic_field_is_named_once() -> None:
    with pytest.raises(ValidationError, match="unique"):
        Settings(dynamic_fields=[DynamicField(name="x"), DynamicField(name="x", admin_only=True)])


def test_the_dynamic_fields_are_offered_to_clients() -> None:
    settings = Settings(dynamic_fields=[DynamicField(name="maxlifespan"), DynamicField(name="x", admin_only=True)])
    offered = public_config.offered(settings, frozenset(), version="1")
    assert offered["dynamic_fields"] == [
        {"name": "maxlifespan", "admin_only": False},
        {"name": "x", "admin_only": True},
    ]


# --- usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("year", "month", "start", "end"),
    [
        (2026, 11, "2026_11_01", "2026_12_01"),
        (2026, 12, "2026_12_01", "2027_01_01"),
        (2024, 2, "2024_02_01", "2024_03_01"),
        (1970, 1, "1970_01_01", "1970_02_01"),
        (9998, 12, "9998_12_01", "9999_01_01"),
    ],
)
def test_a_month_begins_and_ends_at_midnight_utc(year: int, month: int, start: str, end: str) -> None:
    first, last = usage_and_billing.bounds(year, month)
    assert (clock.day(first), clock.day(last)) == (start, end)
    assert first % 86400 == last % 86400 == 0


@given(st.floats(min_value=1e9, max_value=4e9), st.integers(min_value=1, max_value=400))
def test_a_window_has_as_many_days_as_it_should(now: float, days: int) -> None:
    start = usage.window_start(now, days=days)
    assert time.gmtime(start)[3:6] == (0, 0, 0)
    assert int(now // 86400) - int(start // 86400) == days - 1


# --- projects -----------------------------------------------------------------------------------------


def test_who_is_in_a_project() -> None:
    lab = Project(id="lab", owner="olga", members=["mia"])
    assert [lab.has(name) for name in ("olga", "mia", "otto")] == [True, True, False]
    assert Project(id="empty").has("otto") is False
    assert projects.everybody().has("anybody")


def test_an_owners_change_holds_nothing_that_is_an_admins() -> None:
    sent = project_wire.ProjectChange(description="new", members=["a", "b", "a"], owner="me", prio=99, quota_cpu=1)
    settings = Settings()
    assert project_wire.changes(sent, settings, by_admin=False) == {"description": "new", "members": ["a", "b"]}
    every = project_wire.changes(sent, settings, by_admin=True)
    assert every == {"description": "new", "members": ["a", "b"], "owner": "me", "prio": 99, "quota_cpu": 1.0}


def test_what_is_not_sent_is_not_changed() -> None:
    assert project_wire.changes(project_wire.ProjectChange(), Settings(), by_admin=True) == {}
    assert user_wire.changes(user_wire.UserChange(), by_admin=True) == {}


# --- users and recipes -----------------------------------------------------------------------------------


def test_only_an_admins_change_of_a_user_holds_rights_and_quotas() -> None:
    sent = user_wire.UserChange.model_validate(
        {"email": "", "admin": True, "active": False, "usage": {"prio": 1, "disk": None, "quota_cpu": None}}
    )
    assert user_wire.changes(sent, by_admin=False) == {"email": None}
    assert user_wire.changes(sent, by_admin=True) == {
        "email": None,
        "admin": True,
        "active": False,
        "usage.prio": 1,
        "usage.disk": None,
    }


def test_a_specification_leaves_behind_what_the_system_gave() -> None:
    task = samples.submission()
    task["container"]["volumes"] = [
        {"name": "home", "acl": "rw", "path": "/home/alice", "mount": "/mnt/home"},
        {"name": "go-docker", "acl": "rw", "path": "/shared/1", "mount": "/mnt/go-docker"},
    ]
    task["command"]["script"] = "/shared/1/cmd.sh"
    task["container"]["meta"] = {"Node": {"Name": "n1"}}
    spec = recipe_wire.specification(task)
    assert spec["container"]["volumes"] == [{"name": "home", "acl": "rw"}]
    assert "/shared" not in str(spec)
    assert "n1" not in str(spec)
    assert spec["command"] == {"interactive": False, "cmd": "/bin/sleep 30"}
    assert set(spec) == {"meta", "requirements", "container", "command"}
