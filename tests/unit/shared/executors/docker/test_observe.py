"""Translation of an engine's JSON."""

from __future__ import annotations

from typing import Any

import pytest

from shared import errors
from shared.executors import types
from shared.executors.docker import body, client, images, observe

HANDLE = types.Handle("n1", 12, 3)
ROOT = "/opt/godshared"
LABELS = body.labels(HANDLE, instance="lab") | {body.DIRECTORY: f"{ROOT}/tasks/0/12"}
OWNER = types.Owner("lab", earlier="godocker")
OURS, OTHERS = f"{ROOT}/tasks/0/12", "/srv/other/tasks/0/12"


def message(action: str, **attributes: str) -> dict[str, Any]:
    return {"Action": action, "Actor": {"Attributes": {**LABELS, **attributes}}, "timeNano": 1_700_000_000_500_000_000}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.25Z", 1.25),
        ("1970-01-01T00:00:01.123456789Z", 1.123456),
        ("1970-01-01T02:00:01.5+02:00", 1.5),
    ],
)
def test_a_time_of_an_engine(text: str | None, seconds: float | None) -> None:
    assert observe.timestamp(text) == seconds


@pytest.mark.parametrize(
    ("action", "attributes", "kind", "code"),
    [
        ("start", {}, types.EventKind.STARTED, None),
        ("die", {"exitCode": "3"}, types.EventKind.EXITED, 3),
        ("die", {}, types.EventKind.EXITED, None),
        ("die", {"exitCode": "?"}, types.EventKind.EXITED, None),
        ("oom", {"exitCode": "3"}, types.EventKind.OUT_OF_MEMORY, None),
        ("destroy", {}, types.EventKind.REMOVED, None),
    ],
)
def test_an_event_of_ours(action: str, attributes: dict[str, str], kind: types.EventKind, code: int | None) -> None:
    event = observe.event(message(action, **attributes), node="n1", owner=OWNER, root=ROOT)
    assert event == types.Event("n1", kind, HANDLE, code, 1_700_000_000.5)


@pytest.mark.parametrize(
    "other",
    [
        message("exec_create: sh"),
        message("die", **{body.INSTANCE: "another"}),
        message("die", **{body.TASK: "x"}),
        message("die", **{body.DIRECTORY: OTHERS}),  # a copy of ours, beside its original
        message("die", **{body.INSTANCE: "godocker"} | {body.DIRECTORY: ""}),  # anybody's, before there were marks
        {"Action": "die"},
        {},
    ],
)
def test_a_message_about_no_run_of_ours_is_no_event(other: dict[str, Any]) -> None:
    assert observe.event(other, node="n1", owner=OWNER, root=ROOT) is None


def test_an_event_of_a_container_without_a_directory_in_its_labels_counts_where_the_container_is_known() -> None:
    early = message("die", **{body.INSTANCE: "godocker", body.DIRECTORY: ""})
    early["Actor"]["ID"] = "abc"
    event = observe.event(early, node="n1", owner=OWNER, root=ROOT, seen={"abc"})
    assert event is not None
    assert event.handle is not None
    assert event.handle.name == "god-12-3"


@pytest.mark.parametrize(
    ("mark", "source", "name"),
    [
        ("lab", OURS, "god-lab-12-3"),
        ("lab", OTHERS, None),  # of the original of a copy
        ("lab", ROOT, None),
        ("lab", f"{ROOT}-other/tasks/0/12", None),
        ("lab", None, None),
        ("godocker", OURS, "god-12-3"),  # made by a version without marks
        ("godocker", OTHERS, None),
        ("other", OURS, None),
        (None, OURS, None),
    ],
)
@pytest.mark.parametrize("is_listed", [True, False])
def test_a_container_is_ours_by_its_mark_and_by_where_its_directory_is(
    mark: str | None, source: str | None, name: str | None, is_listed: bool
) -> None:
    labels = {**LABELS, body.INSTANCE: mark}
    mounts = [{"Source": "/data", "Destination": "/data"}]
    if source:
        mounts.append({"Source": source, "Destination": types.WORKDIR})
    found = {"Labels": labels, "Mounts": mounts} if is_listed else {"Config": {"Labels": labels}, "Mounts": mounts}
    handle = observe.owned(found, node="n1", owner=OWNER, root=ROOT)
    assert (handle and handle.name) == name


def test_a_new_system_takes_nothing_that_was_made_without_a_mark() -> None:
    found = {
        "Labels": {**LABELS, body.INSTANCE: "godocker"},
        "Mounts": [{"Source": OURS, "Destination": types.WORKDIR}],
    }
    assert observe.owned(found, node="n1", owner=types.Owner("lab"), root=ROOT) is None


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("created", types.RunState.CREATED),
        ("running", types.RunState.RUNNING),
        ("restarting", types.RunState.RUNNING),
        ("paused", types.RunState.PAUSED),
        ("exited", types.RunState.EXITED),
        ("removing", types.RunState.EXITED),
        ("dead", types.RunState.EXITED),
    ],
)
def test_a_containers_status_is_a_state(status: str, state: types.RunState) -> None:
    found = {"State": {"Status": status, "ExitCode": 7, "StartedAt": "2023-11-14T22:13:20Z"}}
    seen = observe.inspected(HANDLE, found)
    assert seen.state is state
    assert seen.exit_code == (7 if state is types.RunState.EXITED else None)


@pytest.mark.parametrize("status", ["created", "removing", "dead"])
def test_a_container_that_was_never_started_has_not_ended_however_it_goes(status: str) -> None:
    """After a failed start an engine reports 128, and the container is removed for another try."""
    found = {"State": {"Status": status, "ExitCode": 128, "StartedAt": "0001-01-01T00:00:00Z"}}
    seen = observe.inspected(HANDLE, found)
    assert (seen.state, seen.exit_code, seen.started_at) == (types.RunState.CREATED, None, None)


def test_configured_values_of_a_node_override_its_engine_s() -> None:
    info = {"NCPU": 2, "MemTotal": 1024, "Labels": ["disk=ssd", "rack=1", "bare"], "ServerVersion": "20.10"}
    asked = observe.report(info, name="n1", labels={}, cpus=None, memory=None)
    assert (asked.cpus, asked.memory, asked.version) == (2.0, 1024, "20.10")
    assert asked.labels == {"disk": "ssd", "rack": "1", "bare": ""}
    told = observe.report(info, name="n1", labels={"rack": "2"}, cpus=1.5, memory=512)
    assert (told.cpus, told.memory) == (1.5, 512)
    assert told.labels["rack"] == "2"


@pytest.mark.parametrize(
    ("configured", "kind", "value", "gpus"),
    [
        ([], "NVIDIA-GPU", "GPU-8f3c", ("GPU-8f3c",)),
        ([], "gpu", "/dev/dri/card0", ("/dev/dri/card0",)),
        ([], "gpu", "/dev/../etc", ()),
        ([], "ssd", "GPU-8f3c", ()),
        (["0"], "gpu", "GPU-8f3c", ("0",)),
    ],
)
def test_the_gpus_of_a_node_are_those_of_its_configuration_or_its_engine(
    configured: list[str], kind: str, value: str, gpus: tuple[str, ...]
) -> None:
    discrete = {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 3}}
    info = {"GenericResources": [discrete, {"NamedResourceSpec": {"Kind": kind, "Value": value}}]}
    assert observe.report(info, name="n1", labels={}, cpus=1, memory=1, configured_gpus=configured).gpus == gpus


def test_an_engine_of_another_system_is_not_ready() -> None:
    report = observe.report({"OSType": "windows"}, name="n1", labels={}, cpus=None, memory=None)
    assert not report.ready
    assert report.reason is not None
    assert "windows" in report.reason


def test_memory_that_is_only_cache_is_not_counted() -> None:
    sample = {
        "cpu_stats": {"cpu_usage": {"total_usage": 1}},
        "memory_stats": {"usage": 100, "limit": 200, "stats": {"inactive_file": 30}},
        "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 3, "tx_bytes": 4}},
        "pids_stats": {"current": 5},
    }
    assert observe.stats(sample, at=1.0, cpu_percent=2.0) == types.Stats(1.0, 2.0, 70, 200, 4, 6, 5)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("one line", "one line"),
        ("first\nsecond", "first"),
        ("", "no reason given"),
        ("\n\n", "no reason given"),
        ("red \x1b[31m and \ttab", "red  [31m and  tab"),
        ("x" * 1000, "x" * 299 + "…"),
    ],
)
def test_an_engines_words_are_one_bounded_line(said: str, kept: str) -> None:
    assert client.words(said) == kept


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (404, "manifest for x:y not found: manifest unknown", errors.ImageNotFound),
        (
            404,
            "pull access denied for x, repository does not exist or may require 'docker login'",
            errors.ImageNotFound,
        ),
        (0, "manifest unknown", errors.ImageNotFound),
        (500, "no matching manifest for linux/amd64 in the manifest list entries", errors.ImageNotFound),
        (400, "invalid reference format", errors.ImageNotFound),
        (500, "unauthorized: authentication required", errors.ImageNotAllowed),
        (500, "Head https://x/v2/: denied: token has insufficient scopes", errors.ImageNotAllowed),
        (500, "Get https://x/v2/: no basic auth credentials", errors.ImageNotAllowed),
        (500, "Get https://x/v2/: dial tcp: lookup x: no such host", errors.ImageUnreachable),
        (500, "Get https://x/v2/: net/http: request canceled (Client.Timeout exceeded)", errors.ImageUnreachable),
        (500, "toomanyrequests: You have reached your pull rate limit", errors.ImageThrottled),
        (500, "received unexpected HTTP status: 429 Too Many Requests", errors.ImageThrottled),
        (0, "write /var/lib/docker/tmp/x: no space left on device", errors.NodeFull),
    ],
)
def test_why_a_pull_failed(status: int, said: str, error: type[errors.StartFailed]) -> None:
    made = images.pull_error("x:y", status, said)
    assert type(made) is error
    assert said.split(":")[0] in str(made)
