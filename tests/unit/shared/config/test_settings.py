"""Settings come from file and environment; a wrong one stops the start with a line that names it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from shared import errors, settings
from shared.config import loading

GOOD = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GODOCKER_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    # `load` writes it: set here, so that it is restored whatever the test does.
    monkeypatch.setenv(loading.CONFIG_VARIABLE, "")


def config(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def refusal(config: Path | None = None, **overrides: Any) -> str:
    with pytest.raises(errors.ConfigurationError) as caught:
        loading.load(config, **overrides)
    return str(caught.value)


# --- sources ------------------------------------------------------------------------


def test_without_file_and_environment_there_are_defaults() -> None:
    loaded = loading.load()
    assert (loaded.mongo_db, loaded.session_timeout, loaded.defaults_cpu) == ("godocker", 172800, 1)
    assert [node.name for node in loaded.docker_nodes] == ["localhost"]


def test_the_environment_overrides_the_file_and_arguments_override_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = config(tmp_path, "redis_host: from-file\nmongo_db: from-file\nport: 1111\n")
    monkeypatch.setenv("GODOCKER_MONGO_DB", "from-environment")
    monkeypatch.setenv("GODOCKER_PORT", "2222")
    loaded = loading.load(file, port=3333)
    assert (loaded.redis_host, loaded.mongo_db, loaded.port) == ("from-file", "from-environment", 3333)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODOCKER_CONFIG", str(config(tmp_path, "redis_prefix: named\n")))
    assert loading.load().redis_prefix == "named"


def test_lists_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODOCKER_VOLUMES", '[{"name": "home", "acl": "rw"}]')
    assert loading.load().volumes[0].target == "/mnt/home"


def test_secrets_files_override_the_file_and_the_environment_overrides_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "godocker_redis_password").write_text("of the directory\n")
    (secrets / "godocker_prometheus_key").write_text("of the directory\n")
    (secrets / "somebody_else").write_text("not ours\n")
    monkeypatch.setenv(loading.SECRETS_VARIABLE, str(secrets))
    monkeypatch.setenv("GODOCKER_PROMETHEUS_KEY", "of the environment")
    loaded = loading.load(config(tmp_path, "redis_password: of the file"))
    assert loaded.redis_password is not None
    assert loaded.redis_password.get_secret_value() == "of the directory"
    assert loaded.prometheus_key is not None
    assert loaded.prometheus_key.get_secret_value() == "of the environment"


def test_a_missing_directory_of_secrets_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loading.SECRETS_VARIABLE, str(tmp_path / "missing"))
    assert "missing" in refusal()


def test_a_list_in_the_environment_that_is_not_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODOCKER_VOLUMES", "home")
    assert "volumes" in refusal()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.yaml does not exist" in refusal(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["volumes: [", "\t- x", "a: b: c"])
def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path, text: str) -> None:
    assert "is not YAML" in refusal(config(tmp_path, text))


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n"])
def test_a_file_that_holds_no_names_is_refused(tmp_path: Path, text: str) -> None:
    assert "config.yaml" in refusal(config(tmp_path, text))


def test_an_empty_file_is_no_configuration_and_fine(tmp_path: Path) -> None:
    assert loading.load(config(tmp_path, "")).port == 6543


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("mongo_urll: x", "mongo_urll"),
        ("volumes: [{name: data, path: /data, mode: rw}]", "volumes.0.mode"),
        ("nodes: [{name: n1, cpu: 4}]", "nodes.0.cpu"),
        ("port: 65536", "port"),
        ("port: many", "port"),
        ("session_timeout: 1", "session_timeout"),
        ("defaults_cpu: 0", "defaults_cpu"),
        ("defaults_ram: -1", "defaults_ram"),
        ("rate_limit: 0", "rate_limit"),
        ("executor: swarm", "executor"),
        ("log_level: loud", "log_level"),
        ("mongo_db: 'a b'", "mongo_db"),
        ("mongo_db: '$x'", "mongo_db"),
        ("redis_prefix: 'a:b'", "redis_prefix"),
        ("instance: 'Ünique'", "instance"),
        ("lease_seconds: 0.1", "lease_seconds"),
        ("nodes: [{name: '../n1'}]", "nodes.0.name"),
        ("nodes: [{name: n1, url: 'ssh://n1'}]", "nodes.0.url"),
        ("nodes: [{name: n1, cpus: 0}]", "nodes.0.cpus"),
        ("scheduler_policy: 'no such'", "scheduler_policy"),
        ("fairshare_user_weight: -1", "fairshare_user_weight"),
        ("fairshare_waiting_time_weight: .nan", "fairshare_waiting_time_weight"),
        ("fairshare_reload_seconds: 0", "fairshare_reload_seconds"),
        ("maxlifespan: never", "maxlifespan"),
        ("failure_policy: {strategy: -1}", "failure_policy.strategy"),
        ("node_grace: 0", "node_grace"),
    ],
)
def test_a_broken_rule_is_named_with_its_path(tmp_path: Path, text: str, path: str) -> None:
    assert f"\n  {path}: " in refusal(config(tmp_path, text))


def test_every_broken_rule_is_named_at_once(tmp_path: Path) -> None:
    message = refusal(config(tmp_path, "port: x\nredis_port: 0\nunknown: 1\n"))
    assert all(f"\n  {name}: " in message for name in ("port", "redis_port", "unknown"))


def test_a_secret_is_never_part_of_a_message(tmp_path: Path) -> None:
    message = refusal(config(tmp_path, f"secret_passphrase: [{GOOD}]\nredis_password: {{a: {OTHER}}}\n"))
    assert GOOD not in message
    assert OTHER not in message


def test_a_secret_does_not_show_where_settings_are_printed() -> None:
    loaded = loading.load(secret_passphrase=GOOD)
    assert GOOD not in repr(loaded)
    assert GOOD not in loaded.model_dump_json()


@pytest.mark.parametrize("names", ["nodes: [{name: n1}, {name: n1}]", "volumes: [{name: home}, {name: home}]"])
def test_names_are_unique(tmp_path: Path, names: str) -> None:
    assert "must be unique" in refusal(config(tmp_path, names))


def test_two_volumes_at_one_place_are_refused(tmp_path: Path) -> None:
    text = "volumes: [{name: a, path: /a, mount: /data}, {name: b, path: /b, mount: /data}]"
    assert "/data, /data" in refusal(config(tmp_path, text))


# --- volumes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"name": "home"}, "/mnt/home"),
        ({"name": "home", "mount": "/home/user"}, "/home/user"),
        ({"name": "data", "path": "/srv/data"}, "/srv/data"),
        ({"name": "scratch", "path": "/srv/$USERID", "mount": "/scratch", "acl": "rw"}, "/scratch"),
        ({"name": "tools", "path": "/opt/tools", "mount": "/usr/local/tools"}, "/usr/local/tools"),
    ],
)
def test_the_mount_point_of_a_volume(fields: dict[str, str], target: str) -> None:
    assert settings.Volume.model_validate(fields).target == target


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "data"},
        {"name": "data", "path": "srv/data"},
        {"name": "data", "path": "/srv/../etc"},
        {"name": "a b", "path": "/srv"},
        {"name": "../..", "path": "/srv"},
        {"name": "", "path": "/srv"},
        {"name": "data", "path": "/srv", "acl": "rwx"},
        *(
            {"name": "data", "path": "/srv", "mount": mount}
            for mount in (
                *("/", "//", "/proc", "/proc/", "/dev", "/sys", "/etc", "/bin", "/usr/", "/lib", "/sbin"),
                *("/proc/self", "/dev/shm", "/sys/fs", "/mnt/go-docker", "/mnt/go-docker/x"),
                *("/a/../etc", "/a b", "/a:rw", "relative", "/srv,volume-opt=x"),
            )
        ),
    ],
)
def test_a_volume_that_could_do_harm_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"volume|String|Input"):
        settings.Volume.model_validate(fields)


def test_a_mount_does_not_end_in_a_newline() -> None:
    with pytest.raises(ValueError, match="cannot be mounted"):
        settings.Volume(name="data", path="/srv", mount="/a\n")


# --- secrets ----------------------------------------------------------------------------


def test_two_different_long_secrets_are_accepted() -> None:
    settings.check_secrets(loading.load(secret_passphrase=GOOD, shared_secret_passphrase=OTHER))


@pytest.mark.parametrize("name", ["secret_passphrase", "shared_secret_passphrase"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is missing"),
        ("tiny!", "is too short: 5 characters, at least 32"),
        (GOOD[:31], "is too short: 31 characters"),
        ("WE_SHOULD_USE_A_REAL_SECRET_PASSPHRASE_HERE", "is the sample"),
        ("a" * 64, "repeats a few characters only"),
        ("abcdefg" * 10, "repeats a few characters only"),
    ],
)
def test_a_weak_secret_stops_the_start_and_is_named(name: str, value: str, problem: str) -> None:
    values = {"secret_passphrase": GOOD, "shared_secret_passphrase": OTHER, name: value}
    with pytest.raises(errors.ConfigurationError) as caught:
        settings.check_secrets(loading.load(None, **values))
    message = str(caught.value)
    assert message.startswith(f"{name} {problem}")
    assert f"GODOCKER_{name.upper()}" in message
    assert not value or value not in message.replace(name, "")


def test_equal_secrets_stop_the_start() -> None:
    with pytest.raises(errors.ConfigurationError, match="must differ"):
        settings.check_secrets(loading.load(secret_passphrase=GOOD, shared_secret_passphrase=GOOD))
