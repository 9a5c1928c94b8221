"""Tests of the findings of `godocker doctor`."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from godocker import cli
from godocker.admin import nodes
from godocker.checks import clocks, facts, findings, hosts, machine, probe, stores
from godocker.checks.findings import State
from godocker.commands.operator import doctor
from godocker.docker import capacity, engine_probe
from shared import errors
from shared.settings import Node, Settings


@pytest.mark.parametrize(
    ("text", "numbers"), [("1.1.5+ds1", (1, 1, 5)), ("7.0.15", (7, 0, 15)), ("20.10.24", (20, 10, 24)), ("dev", ())]
)
def test_versions_are_compared_by_their_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert findings.version(text) == numbers


@pytest.mark.parametrize(
    ("name", "has_primary", "state"),
    [("rs0", True, State.WELL), ("rs0", False, State.BAD), (None, True, State.BAD)],
)
def test_mongodb_must_be_a_replica_set_with_a_primary(name: str | None, has_primary: bool, state: State) -> None:
    assert stores.check_replica_set(name, 1, has_primary=has_primary).state is state


@pytest.mark.parametrize(
    ("is_on", "state"),
    [(True, State.WELL), (False, State.BAD), (None, State.WARNING)],
)
def test_mongodb_must_journal(is_on: bool | None, state: State) -> None:
    assert stores.check_journal(is_on).state is state


@pytest.mark.parametrize(
    ("options", "states"),
    [
        ({"appendonly": "yes", "maxmemory-policy": "noeviction"}, [State.WELL, State.WELL]),
        ({"appendonly": "no", "save": "", "maxmemory-policy": "noeviction"}, [State.WARNING, State.WELL]),
        ({"appendonly": "no", "save": "60 1", "maxmemory-policy": "allkeys-lru"}, [State.WELL, State.WARNING]),
        ({}, [State.WARNING]),
    ],
)
def test_redis_that_forgets_is_worth_a_warning(options: dict[str, str], states: list[State]) -> None:
    assert [finding.state for finding in stores.check_redis(options)] == states


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("unix:///var/run/docker.sock", State.WELL),
        ("https://node.example.org:2376", State.WELL),
        ("tcp://127.0.0.1:2375", State.WARNING),
        ("tcp://node.example.org:2375", State.BAD),
    ],
)
def test_an_engine_must_not_be_open_to_the_network(url: str, state: State) -> None:
    assert hosts.check_tls("engine", Node(name="n", url=url)).state is state


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ({"MemoryLimit": True, "PidsLimit": True, "CpuCfsQuota": True, "SwapLimit": True}, State.WELL),
        ({"MemoryLimit": True, "SwapLimit": False}, State.WARNING),
        ({"MemoryLimit": False}, State.BAD),
    ],
)
def test_an_engine_must_be_able_to_limit(info: dict[str, Any], state: State) -> None:
    assert facts.check_limits("engine", info).state is state


@pytest.mark.parametrize(("version", "state"), [("1.1.5+ds1", State.WARNING), ("1.3.3", State.WELL)])
def test_an_old_runc_is_named_and_not_condemned(version: str, state: State) -> None:
    answer = {"Components": [{"Name": "Engine", "Version": "20.10"}, {"Name": "runc", "Version": version}]}
    assert facts.check_runc("engine", answer).state is state


@pytest.mark.parametrize(
    ("theirs", "state"), [(100.1, State.WELL), (99.0, State.WELL), (103.0, State.WARNING), (90.0, State.BAD)]
)
def test_only_what_the_question_does_not_explain_is_a_difference_of_clocks(theirs: float, state: State) -> None:
    assert clocks.check("somebody", theirs, asked_at=99.5, answered_at=100.5).state is state


def test_a_shared_directory_that_is_not_there_is_not_well(tmp_path: Path) -> None:
    assert machine.shared_dir(Settings(shared_dir=tmp_path / "nothing"))[0].state is State.BAD
    assert machine.shared_dir(Settings(shared_dir=tmp_path))[0].state is State.WELL
    assert machine.shared_dir(Settings(shared_dir=Path("relative")))[0].state is State.BAD


@pytest.mark.parametrize(("free", "state"), [(1e12, State.WELL), (1e9, State.WARNING), (1e6, State.BAD)])
def test_a_full_disk_is_not_well(free: float, state: State) -> None:
    assert machine.check_space(free).state is state


def test_root_tasks_need_a_nosuid_mount() -> None:
    assert machine.check_nosuid(nosuid=False).state is State.BAD
    assert machine.check_nosuid(nosuid=True).state is State.WELL


@pytest.mark.parametrize(("executor", "state"), [("process", State.BAD), ("docker", State.WARNING)])
def test_a_shared_directory_that_nothing_can_be_executed_in_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: Any, state: State
) -> None:
    settings = Settings(shared_dir=tmp_path, executor=executor)
    assert not [one for one in machine.shared_dir(settings) if "noexec" in one.detail]
    seen = os.statvfs(tmp_path)
    mounted = os.statvfs_result((*seen[:8], seen.f_flag | os.ST_NOEXEC, seen.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda _: mounted)
    (finding,) = [one for one in machine.shared_dir(settings) if "noexec" in one.detail]
    assert finding.state is state


def test_secrets_that_others_can_read_are_not_well(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text("{}")
    file.chmod(0o644)
    given = Settings(secret_passphrase="0123456789abcdef" * 2, shared_secret_passphrase="fedcba9876543210" * 2)
    assert [finding.state for finding in machine.secrets(given, file)] == [State.WELL, State.BAD]
    file.chmod(0o600)
    assert [finding.state for finding in machine.secrets(given, file)] == [State.WELL]
    assert machine.secrets(Settings())[0].state is State.BAD


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("port: 6543\n", State.WARNING),
        ("redis_password: x\n", State.BAD),
        ("mongo_url: mongodb://u:p@host/\n", State.BAD),
        ("mongo_url: mongodb://host/\n", State.WARNING),
        ("a: [", State.BAD),
    ],
)
def test_a_configuration_that_others_can_read_is_a_problem_only_with_a_secret_in_it(
    tmp_path: Path, text: str, state: State
) -> None:
    file = tmp_path / "god.yaml"
    file.write_text(text)
    file.chmod(0o644)
    given = Settings(secret_passphrase="0123456789abcdef" * 2, shared_secret_passphrase="fedcba9876543210" * 2)
    assert machine.secrets(given, file)[-1].state is state
    assert str(file) in machine.secrets(given, file)[-1].detail


def test_the_last_line_of_the_report_tells_the_system_and_the_numbers() -> None:
    found = [findings.well("a", ""), findings.warning("b", ""), findings.warning("b", ""), findings.bad("c", "")]
    assert doctor.summary("/data", found) == "checked /data: 4 checks, 2 warnings, 1 problem"


def test_a_report_in_json_has_the_numbers_of_all_and_the_list_of_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def check(settings: Settings) -> list[findings.Finding]:
        return [findings.well("a", "fine"), findings.bad("b", "[/red]\x1b")]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_check", check)
    answer = CliRunner().invoke(cli.app, ["doctor", "--json", "--problems"])
    assert answer.exit_code == 1
    report = json.loads(answer.output)
    assert (report["checks"], report["warnings"], report["problems"]) == (2, 0, 1)
    assert report["findings"] == [{"part": "b", "state": "problem", "detail": "[/red]\x1b"}]
    shown = CliRunner().invoke(cli.app, ["doctor"]).output
    assert "[/red]\\u001b" in shown
    assert shown.splitlines()[-1] == "checked the default settings: 2 checks, 0 warnings, 1 problem"


GB = 1024**3


@pytest.mark.parametrize(
    ("fields", "info", "said"),
    [
        ({"cpus": 64}, {"NCPU": 2}, ["cpus: 64 are configured, but the engine has 2"]),
        ({"cpus": 2}, {"NCPU": 2}, []),
        ({"cpus": 64}, {}, []),
        ({"memory": 64}, {"MemTotal": 16 * GB}, ["memory: 64 GB are configured, but the engine has 16.0 GB"]),
        ({"memory": 16}, {"MemTotal": int(15.8 * GB)}, []),
        ({"gpus": ["0"]}, {"Runtimes": {"runc": {}}}, ["gpus: the engine does not seem to have 0"]),
        ({"gpus": ["0"]}, {"Runtimes": {"nvidia": {}}}, []),
        (
            {"gpus": ["GPU-a", "GPU-b"]},
            {"GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-a"}}]},
            ["gpus: the engine does not seem to have GPU-b"],
        ),
        ({"gpus": ["/dev/no-such-card"]}, {}, ["gpus: the engine does not seem to have /dev/no-such-card"]),
        ({}, {"NCPU": 2, "MemTotal": GB}, []),
    ],
)
def test_more_than_an_engine_has_is_told(fields: dict[str, Any], info: dict[str, Any], said: list[str]) -> None:
    assert capacity.missing(Node(name="n", **fields), info) == said


def test_a_file_of_tls_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    node = Node(name="n", url="tcp://127.0.0.1:9", tls_ca=tmp_path / "ca.pem")
    with pytest.raises(errors.NodeUnavailable, match=r"tls_ca: .*/ca.pem cannot be read: No such file"):
        engine_probe.ask(node, "/version")
    with pytest.raises(errors.InvalidInput, match=r"tls_ca: .*/ca.pem cannot be read"):
        asyncio.run(nodes.add(Settings(), node, check=True))


def test_our_own_versions_are_good_enough() -> None:
    assert all(finding.state is State.WELL for finding in machine.versions())


@pytest.mark.parametrize(
    ("options", "state"),
    [
        (["name=seccomp,profile=default"], State.WELL),
        (["name=seccomp,profile=default", "name=userns"], State.BAD),
        (["name=rootless"], State.BAD),
        (None, State.WELL),
    ],
)
def test_tasks_must_run_as_their_users_own_numbers(options: list[str] | None, state: State) -> None:
    assert facts.check_user_namespaces("engine n1", {"SecurityOptions": options}).state is state


@pytest.mark.parametrize(
    ("answer", "state"),
    [({"ApiVersion": "1.41"}, State.WELL), ({"ApiVersion": "1.40"}, State.BAD), ({}, State.BAD)],
)
def test_an_engine_must_not_be_too_old(answer: dict[str, str], state: State) -> None:
    assert facts.check_api("engine n1", answer).state is state


@pytest.mark.parametrize(("driver", "state"), [("overlay2", State.WELL), ("vfs", State.WARNING)])
def test_a_slow_storage_driver_is_worth_a_warning(driver: str, state: State) -> None:
    assert facts.check_storage("engine n1", {"Driver": driver}).state is state


@pytest.mark.parametrize(
    ("config", "state"),
    [
        ({"InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {"docker.io": {"Secure": True}}}, State.WELL),
        ({"IndexConfigs": {"lab:5000": {"Secure": False}}}, State.WARNING),
        ({"InsecureRegistryCIDRs": ["10.0.0.0/8"]}, State.WARNING),
        (None, State.WELL),
    ],
)
def test_registries_without_tls_are_named(config: dict[str, Any] | None, state: State) -> None:
    assert facts.check_registries("engine n1", {"RegistryConfig": config}).state is state


@pytest.mark.parametrize(
    ("said", "states"),
    [
        ("0\noverlay 103081248 41302416 56498864 43% /\n", [State.WELL, State.WELL]),
        ("1\noverlay 103081248 41302416 4649886 43% /\n", [State.BAD, State.WARNING]),
        ("0\noverlay 103081248 41302416 4649 43% /\n", [State.WELL, State.BAD]),
        ("0\nnoexec\noverlay 103081248 41302416 56498864 43% /\n", [State.WELL, State.BAD, State.WELL]),
        ("0\n", [State.WELL]),
        ("", [State.WARNING]),
    ],
)
def test_what_a_container_saw_of_its_host(said: str, states: list[State]) -> None:
    assert [finding.state for finding in probe.parse("engine n1", Path("/opt/godshared"), said)] == states
