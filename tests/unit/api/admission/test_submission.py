"""Admission of tasks: every rule with its field, and the task that is stored."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.api.admission import submission
from services.api.wire.submission import TaskIn
from shared import errors
from shared.executors.types import Feature
from shared.lifecycle import TaskStatus
from shared.models.task import Task
from shared.models.user import User
from shared.settings import Image, Settings, Volume
from tests.support import samples

ALL = frozenset(Feature)
VOLUMES = [
    Volume(name="home", acl="rw"),
    Volume(name="data", path="/srv/data"),
    Volume(name="scratch", path="/srv/scratch/$USERID", mount="/scratch", acl="rw"),
]


def configured(**fields: Any) -> Settings:
    return Settings().model_copy(update={"volumes": VOLUMES, "executor": "docker", **fields})


SETTINGS = configured()


def admitted(
    document: dict[str, Any],
    *,
    owner: User | None = None,
    settings: Settings = SETTINGS,
    features: frozenset[Feature] = ALL,
) -> Task:
    sent = TaskIn.model_validate(document)
    return submission.admit(sent, owner=owner or samples.user(), settings=settings, features=features, now=samples.NOW)


def refused(document: dict[str, Any], **how: Any) -> dict[str, str]:
    """Return the broken rules by the path of their field."""
    try:
        admitted(document, **how)
    except ValidationError as error:
        return {".".join(map(str, item["loc"])): item["msg"] for item in error.errors()}
    except errors.InvalidInput as error:
        return {field.path: field.rule for field in error.fields}
    raise AssertionError("the task was admitted")


# --- stored tasks -------------------------------------------------------------------------


def test_the_sample_of_the_documentation_becomes_a_pending_task() -> None:
    task = admitted(samples.submission())
    assert (task.status, task.attempt, task.intent, task.settled) == (TaskStatus.PENDING, 0, None, True)
    assert task.submitted_at == task.queued_at == task.status_at == samples.NOW
    assert (task.spec.name, task.spec.tags) == ("some_name", ["first", "second"])
    assert (task.spec.cpu, task.spec.ram, task.shape) == (1, 1, "cpu=1 ram=1")
    assert (task.spec.image, task.spec.cmd) == ("centos:latest", "/bin/sleep 30")
    assert (task.spec.network, task.spec.root) == ("public", False)
    assert (task.user.id, task.user.uid, task.user.gid, task.project) == ("alice", 20001, 20002, "default")


def test_the_least_that_can_be_sent_gets_the_defaults() -> None:
    task = admitted({"container": {"image": "busybox"}, "command": {"cmd": "true"}})
    assert (task.spec.cpu, task.spec.ram) == (SETTINGS.defaults_cpu, SETTINGS.defaults_ram)
    assert (task.spec.name, task.spec.description, task.spec.tags, task.spec.volumes) == ("", "", [], [])


def test_a_task_can_be_created_held() -> None:
    assert admitted(samples.submission(**{"status.primary": "created"})).status is TaskStatus.CREATED


@pytest.mark.parametrize("primary", [None, "pending", "running", "over", "archived"])
def test_the_status_of_a_copied_task_means_run_it(primary: str | None) -> None:
    assert admitted(samples.submission(**{"status.primary": primary})).status is TaskStatus.PENDING


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", 7),
        ("_id", 7),
        ("date", 1.0),
        ("attempt", 9),
        ("intent", "kill"),
        ("ending", "exited"),
        ("settled", False),
        ("submission", "mine"),
        ("queued_at", 0),
        ("shape", "cpu=0 ram=0"),
        ("placement", {"node": "n1"}),
        ("history", [{"at": 1}]),
        ("failure", {"count": 3}),
        ("project", "other"),
        ("user.uid", 0),
        ("user.gid", 0),
        ("user.groups", [0]),
        ("user.home", "/root"),
        ("user.admin", True),
        ("container.id", "abc"),
        ("container.meta", {"Node": {"Name": "n1"}}),
        ("container.ports", ["1"]),
        ("container.privileged", True),
        ("container.HostConfig", {"Privileged": True}),
        ("container.cap_add", ["ALL"]),
        ("container.devices", ["/dev/sda"]),
        ("requirements.unknown", 1),
        ("command.script", "/etc/passwd"),
        ("status.exitcode", 0),
        ("status.secondary", "killed"),
        ("status.reason", "none"),
        ("status.date_over", 1.0),
        ("usage", {"cpu": 0}),
        ("quota", 0),
        ("is_admin", True),
        ("parent_task_id", 1),
    ],
)
def test_a_field_that_the_system_fills_is_ignored(path: str, value: Any) -> None:
    assert admitted(samples.submission(**{path: value})) == admitted(samples.submission())


@pytest.mark.parametrize(
    "changes",
    [
        {"requirements.cpu": "2", "requirements.ram": "3.5"},
        {"requirements.cpu": 2.0, "requirements.ram": 3.5},
        {"requirements.cpu": 2, "requirements.ram": "3.50"},
    ],
)
def test_numbers_may_come_as_strings(changes: dict[str, Any]) -> None:
    task = admitted(samples.submission(**changes))
    assert (task.spec.cpu, task.spec.ram, task.shape) == (2.0, 3.5, "cpu=2 ram=3.5")


# --- resources ------------------------------------------------------------------------------

NOT_AMOUNTS: list[Any] = [
    *(0, -1, -0.5, 10**30, -(10**30), 1e308, True, False, "", " ", "x", "NaN", "nan", "inf", "-inf", "1e999"),
    *("0", "-1", "1,5", "0x10", "1 2", [], [1], {}, {"$gt": ""}, {"$ne": None}, "x" * 10_000),
    *(float("nan"), float("inf"), float("-inf"), 0.0001, "0.0001"),
]


@pytest.mark.parametrize("name", ["cpu", "ram"])
@pytest.mark.parametrize("value", NOT_AMOUNTS, ids=lambda value: repr(value)[:20])
def test_an_invalid_amount_is_refused(name: str, value: Any) -> None:
    assert f"requirements.{name}" in refused(samples.submission(**{f"requirements.{name}": value}))


def test_an_amount_over_the_configured_limit_is_refused_with_the_limit() -> None:
    found = refused(
        samples.submission(**{"requirements.cpu": 5, "requirements.ram": 9}),
        settings=configured(max_cpu=4, max_ram=8),
    )
    assert found == {"requirements.cpu": "must be at most 4", "requirements.ram": "must be at most 8 GB"}


# --- unsupported fields -----------------------------------------------------------------------

LATER: dict[str, tuple[list[Any], list[Any]]] = {
    "requirements.array": ([None, {}, {"values": None}, {"values": ""}], []),
    "requirements.array.values": ([None, ""], ["1:1000000000:1", 0, "0"]),
    "requirements.tasks": ([None, []], []),
    "requirements.failure_policy": ([None, 0, "0"], [1, "3"]),
    "requirements.executor": ([None, "", "docker"], ["swarm", "process"]),
    "command.interactive": ([None, False, 0], [True, 1, "true"]),
    "user.project": ([None, "", "default"], ["other", "Default"]),
}


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, (good, _) in LATER.items() for value in good])
def test_an_empty_value_of_an_unsupported_field_is_accepted(path: str, value: Any) -> None:
    assert admitted(samples.submission(**{path: value})) == admitted(samples.submission())


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, (_, bad) in LATER.items() for value in bad])
def test_a_value_of_an_unsupported_field_is_refused(path: str, value: Any) -> None:
    assert list(refused(samples.submission(**{path: value}))) == [path]


MAIL = {"smtp_host": "mail.lab.test", "mail_from": "godocker@lab.test"}


@pytest.mark.parametrize("value", [None, False, 0])
def test_a_task_asks_for_no_mail_by_default(value: Any) -> None:
    task = admitted(samples.submission(**{"notify.email": value}))
    assert (task.spec.notify_email, task.told) == (False, None)


@pytest.mark.parametrize("value", [True, "yes", 1])
def test_a_request_for_mail_is_stored_with_the_task(value: Any) -> None:
    owner = samples.user(email="alice@lab.test")
    task = admitted(samples.submission(**{"notify.email": value}), owner=owner, settings=configured(**MAIL))
    assert (task.spec.notify_email, task.told) == (True, -1)


@pytest.mark.parametrize("email", [None, "", "alice", "alice@lab.test, bob@lab.test", "a@b\r\nBcc: c@d"])
def test_mail_to_an_owner_without_an_address_is_refused(email: str | None) -> None:
    found = refused(
        samples.submission(**{"notify.email": True}), owner=samples.user(email=email), settings=configured(**MAIL)
    )
    assert list(found) == ["notify.email"]
    assert "no email address" in found["notify.email"]


def test_mail_is_refused_where_no_server_for_it_is_configured() -> None:
    found = refused(samples.submission(**{"notify.email": True}), owner=samples.user(email="alice@lab.test"))
    assert list(found) == ["notify.email"]
    assert "no mail server" in found["notify.email"]


@pytest.mark.parametrize("part", ["meta", "notify", "user", "requirements", "status"])
def test_a_part_that_is_null_or_absent_stands_for_its_defaults(part: str) -> None:
    absent = samples.submission()
    del absent[part]
    assert admitted(samples.submission(**{part: None})) == admitted(absent)


# --- images, volumes, root, users -----------------------------------------------------------------


@pytest.mark.parametrize(
    "image", ["a b", "", "Debian", "scheme://x", "127.0.0.1:2375/x", "169.254.169.254/x", "x" * 600]
)
def test_a_bad_image_is_refused(image: str) -> None:
    assert list(refused(samples.submission(**{"container.image": image}))) == ["container.image"]


def test_only_offered_images_are_accepted_if_users_may_not_bring_their_own() -> None:
    limited = configured(allow_user_images=False, default_images=[Image(name="Debian", url="debian:12")])
    assert admitted(samples.submission(**{"container.image": "debian:12"}), settings=limited).spec.image == "debian:12"
    assert "debian:12" in refused(samples.submission(), settings=limited)["container.image"]


def test_a_volume_is_resolved_when_the_task_is_admitted() -> None:
    asked = [{"name": "home"}, {"name": "data", "acl": "ro"}, {"name": "scratch", "acl": "ro"}]
    volumes = admitted(samples.submission(**{"container.volumes": asked})).spec.volumes
    assert [tuple(volume.model_dump().values()) for volume in volumes] == [
        ("home", "rw", "/home/alice", "/mnt/home"),
        ("data", "ro", "/srv/data", "/srv/data"),
        ("scratch", "ro", "/srv/scratch/alice", "/scratch"),
    ]


def test_path_and_mount_of_a_volume_come_from_the_configuration() -> None:
    evil = {"name": "data", "path": "/etc", "mount": "/mnt/go-docker", "acl": "ro", "propagation": "shared"}
    plain = {"name": "data", "acl": "ro"}
    assert admitted(samples.submission(**{"container.volumes": [evil]})) == admitted(
        samples.submission(**{"container.volumes": [plain]})
    )


@pytest.mark.parametrize(
    ("volumes", "path"),
    [
        ([{"name": "../.."}], "container.volumes.0.name"),
        ([{"name": "home:/etc:rw"}], "container.volumes.0.name"),
        ([{"name": "/etc"}], "container.volumes.0.name"),
        ([{"name": "HOME"}], "container.volumes.0.name"),
        ([{"name": "root"}], "container.volumes.0.name"),
        ([{"name": ""}], "container.volumes.0.name"),
        ([{"name": None}], "container.volumes.0.name"),
        ([{}], "container.volumes.0.name"),
        ([{"name": "home"}, {"name": "home"}], "container.volumes.1.name"),
        ([{"name": "data", "acl": "rw"}], "container.volumes.0.acl"),
        ([{"name": "home", "acl": "rwx"}], "container.volumes.0.acl"),
        ([{"name": "home", "acl": "rw,exec"}], "container.volumes.0.acl"),
        ([{"name": "home", "acl": "rw\n"}], "container.volumes.0.acl"),
        (["home"], "container.volumes.0"),
        ("home", "container.volumes"),
        ({"home": "rw"}, "container.volumes"),
        ([{"name": "home"}] * 101, "container.volumes"),
    ],
)
def test_a_volume_that_is_not_offered_is_refused(volumes: Any, path: str) -> None:
    assert path in refused(samples.submission(**{"container.volumes": volumes}))


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_a_missing_home_cannot_be_mounted(home: str | None) -> None:
    document = samples.submission(**{"container.volumes": [{"name": "home"}]})
    assert refused(document, owner=samples.user(home=home)) == {
        "container.volumes.0.name": "alice has no home directory"
    }


def test_an_executor_without_volumes_has_only_the_home() -> None:
    plain = ALL - {Feature.VOLUMES}
    assert admitted(samples.submission(**{"container.volumes": [{"name": "home"}]}), features=plain).spec.volumes
    document = samples.submission(**{"container.volumes": [{"name": "data"}]})
    assert "no volumes but home" in refused(document, features=plain)["container.volumes.0.name"]


def test_root_needs_the_setting_and_an_executor_with_the_feature() -> None:
    document = samples.submission(**{"container.root": True})
    assert refused(document) == {"container.root": "is not allowed here"}
    allowed = configured(allow_root=True)
    assert admitted(document, settings=allowed).spec.root
    assert "no root tasks" in refused(document, settings=allowed, features=ALL - {Feature.ROOT})["container.root"]


@pytest.mark.parametrize(
    "user_id", ["$(id)", "`id`", "a;b", "a b", "a\nb", "alice\n", "../alice", "-rf", "", "a" * 33, "Älice", "0", "a/b"]
)
def test_an_owner_without_a_plain_account_name_gets_no_task(user_id: str) -> None:
    assert refused(samples.submission(), owner=samples.user(user_id)) == {"user.id": "must be a plain account name"}


# --- texts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["meta.name", "meta.tags.0", "requirements.uris.0", "user.id", "user.project", "requirements.label.0"],
)
@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "\x1b[31m", "a\u2028b", "a\u2029b", "a\x85b", "\ud800"])
def test_a_line_holds_no_control_characters(path: str, text: str) -> None:
    folder, _, last = path.rpartition(".")
    document = samples.submission(**({folder: [text]} if last == "0" else {path: text}))
    assert path in refused(document)


@pytest.mark.parametrize(("text", "good"), [("two\nlines\tand more", True), ("a\0b", False), ("\x1b[2J", False)])
def test_a_description_may_have_lines(text: str, good: bool) -> None:
    document = samples.submission(**{"meta.description": text})
    if good:
        assert admitted(document).spec.description == text
    else:
        assert "meta.description" in refused(document)


@pytest.mark.parametrize("command", ["#!/bin/bash\necho $(id)\n", "a\r\nb", "\x1b", "é\u2028", " "])
def test_a_command_is_kept_as_it_is(command: str) -> None:
    assert admitted(samples.submission(**{"command.cmd": command})).spec.cmd == command


@pytest.mark.parametrize("command", ["", "a\0b", "\ud800", None, 1, ["ls"], {"$ne": None}])
def test_an_invalid_command_is_refused(command: Any) -> None:
    assert "command.cmd" in refused(samples.submission(**{"command.cmd": command}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("meta.name", "x" * 256),
        ("meta.description", "x" * 10_001),
        ("meta.tags", ["x"] * 101),
        ("requirements.uris", ["x"] * 10_001),
        ("requirements.label", ["x"] * 101),
        ("requirements.ports", [80] * 101),
        ("requirements.tasks", [1] * 1001),
    ],
)
def test_nothing_is_longer_than_it_may_be(path: str, value: Any) -> None:
    assert path in refused(samples.submission(**{path: value}))


def test_every_broken_rule_is_named_at_once() -> None:
    found = refused(
        samples.submission(
            **{
                "requirements.cpu": 10**5,
                "requirements.gpus": 200,
                "container.image": "a b",
                "container.root": True,
                "container.volumes": [{"name": "x"}],
                "user.project": "other",
            }
        )
    )
    assert sorted(found) == [
        "container.image",
        "container.root",
        "container.volumes.0.name",
        "requirements.cpu",
        "requirements.gpus",
        "user.project",
    ]


# --- arbitrary documents ----------------------------------------------------------------------------

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["$gt", "home", "data", "created", "../..", "default", "alice", "1:10:1", "rw", "busybox"])
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
paths = st.sampled_from(
    [
        *(f"{part}.{name}" for part, fields in samples.SUBMISSION.items() for name in fields),
        *samples.SUBMISSION,
        *("requirements.array.values", "requirements.tmpstorage.size", "user.id", "requirements.ticket_share"),
    ]
)


@hypothesis_settings(
    max_examples=2 * hypothesis_settings.default.max_examples, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.dictionaries(paths, values, max_size=5))
def test_any_document_is_admitted_or_refused_with_its_fields_and_nothing_else_is_raised(
    changes: dict[str, Any],
) -> None:
    document = samples.submission()
    for path, value in sorted(changes.items()):
        folder = path.split(".")[0]
        if path == folder or isinstance(document.get(folder), dict):
            try:
                samples.put(document, path, value)
            except (TypeError, AttributeError):
                continue
    try:
        sent = TaskIn.model_validate(document)
    except ValidationError:
        return
    try:
        task = submission.admit(sent, owner=samples.user(), settings=SETTINGS, features=ALL, now=samples.NOW)
    except errors.InvalidInput as error:
        named = [field.path for field in error.fields]
    else:
        _check_admitted(task)
        return
    assert named
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)*", path) for path in named)


def _check_admitted(task: Task) -> None:
    assert task.status in (TaskStatus.PENDING, TaskStatus.CREATED)
    assert 0 < task.spec.cpu <= SETTINGS.max_cpu
    assert 0 < task.spec.ram <= SETTINGS.max_ram
    assert not task.spec.root
    assert (task.user.id, task.user.uid, task.attempt, task.id) == ("alice", 20001, 0, 0)
    assert {volume.name for volume in task.spec.volumes} <= {"home", "data", "scratch"}
    orjson.dumps(task.document())


@pytest.mark.parametrize("field", ["uid", "gid"])
def test_a_number_that_no_engine_accepts_is_refused_at_submission(field: str) -> None:
    owner = samples.user(**{field: 2**31})
    docker, process = configured(executor="docker"), configured(executor="process")
    found = refused(samples.submission(), owner=owner, settings=docker)
    assert f"{field} 2147483648, above 2147483647" in found["user.id"]
    assert admitted(samples.submission(), owner=owner, settings=process).user.model_dump()[field] == 2**31


def test_a_further_group_that_no_engine_takes_is_left_out() -> None:
    owner = samples.user(sgids=[31001, 2**31])
    assert admitted(samples.submission(), owner=owner, settings=configured(executor="docker")).user.groups == [31001]
    assert len(admitted(samples.submission(), owner=owner, settings=configured(executor="process")).user.groups) == 2
