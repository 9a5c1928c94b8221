"""A rejected value is named with its rule and origin; an unused name with the nearest known one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pymongo import errors as driver_errors

from shared import errors
from shared.config import loading, problems, yaml_file
from shared.settings import Settings
from shared.store import connection
from shared.units import urls


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GODOCKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(loading.CONFIG_VARIABLE, "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "god.yaml"


def refusal(config: Path | None = None, **overrides: Any) -> list[str]:
    with pytest.raises(errors.ConfigurationError) as caught:
        loading.load(config, **overrides)
    first, *lines = str(caught.value).split("\n  ")
    return lines or [first]


def of_file(file: Path, text: str) -> list[str]:
    file.write_text(text)
    return [line.replace(str(file), "F") for line in refusal(file)]


# --- the environment -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["port", "scheduler_port", "files_port", "redis_port"])
def test_the_address_of_a_container_link_is_no_port_and_is_reported_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"GODOCKER_{name.upper()}"
    monkeypatch.setenv(variable, "tcp://10.0.0.5:6543")
    monkeypatch.setenv("GODOCKER_PORT_6543_TCP_ADDR", "10.0.0.5")
    monkeypatch.setenv("GODOCKER_SERVICE_HOST", "10.0.0.5")
    loaded = loading.load()
    assert getattr(loaded, name) == Settings.model_fields[name].default
    assert name not in loaded.model_fields_set
    (warning,) = loading.warnings()
    assert warning.startswith(f"{variable}=tcp://10.0.0.5:6543 is ignored")


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("GODOCKER_PORT", "many", 'port: must be a whole number, not "many" (GODOCKER_PORT)'),
        ("GODOCKER_PORT", "65536", 'port: must be at most 65535, not "65536" (GODOCKER_PORT)'),
        ("GODOCKER_EXECUTOR", "a\x1b[2J", 'not "a\\u001b[2J" (GODOCKER_EXECUTOR)'),
        ("GODOCKER_NODES", "abc", "nodes: must be JSON: a list of objects with the fields name, url"),
        ("GODOCKER_FAILURE_POLICY", "3,1", "failure_policy: must be JSON: an object with the fields strategy"),
        ("GODOCKER_NODES", '[{"name": "a", "cpus": true}]', "nodes.0.cpus: must not be true or false (GODOCKER_NODES)"),
        ("GODOCKER_REDIS_HOST", "redis://h:1", "redis_host: must be the name or address of a host"),
    ],
)
def test_a_value_of_the_environment_is_refused_with_its_variable(
    variable: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    (told,) = refusal()
    assert line in told
    assert told.endswith(f"({variable})")


def test_an_unknown_variable_is_named_with_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODOCKER_POLL_SECOND", "3")
    loading.load()
    assert loading.warnings() == [
        "GODOCKER_POLL_SECOND is not a setting and is ignored; did you mean GODOCKER_POLL_SECONDS?"
    ]


def test_variables_of_tasks_and_tests_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODOCKER_TEST_REQUIRE", "docker")
    assert loading.warnings() == []
    for name in ("JID", "PWD", "TASK_ID", "WHATEVER"):
        monkeypatch.setenv(f"GODOCKER_{name}", "1")
    assert loading.warnings() == []


# --- files of secrets -------------------------------------------------------------------


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv(loading.SECRETS_VARIABLE, str(folder))
    return folder


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_secret_keeps_its_spaces_and_loses_its_line_ends(secrets: Path, end: str) -> None:
    (secrets / "godocker_redis_password").write_bytes(f" a b\t {end}".encode())
    password = loading.load().redis_password
    assert password is not None
    assert password.get_secret_value() == " a b\t "


def test_an_unknown_file_of_secrets_is_named_with_the_nearest_known_one(secrets: Path) -> None:
    (secrets / "godocker_redis_pasword").write_text("x")
    (secrets / "grafana_password").write_text("not ours")
    (warning,) = loading.warnings()
    assert warning.startswith(f"{secrets}/godocker_redis_pasword is not a setting")
    assert warning.endswith("did you mean godocker_redis_password?")


def test_a_refused_file_of_secrets_is_named_and_not_shown(secrets: Path) -> None:
    (secrets / "godocker_redis_port").write_text("hunter2\n")
    (told,) = refusal()
    assert told.endswith(f"({secrets}/godocker_redis_port)")
    (secrets / "godocker_redis_port").unlink()
    (secrets / "godocker_mongo_url").write_text("mongodb://u:hunter2@[")
    (told,) = refusal()
    assert "hunter2" not in told


def test_a_secret_that_is_no_text_is_named(secrets: Path) -> None:
    (secrets / "godocker_redis_password").write_bytes(b"\xff\xfe")
    assert "godocker_redis_password is not UTF-8 text" in refusal()[0]


# --- the file ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("port: 010", "port: 010 is octal to some readers of YAML: leave the zero out, or write it in quotes (F:1)"),
        ("max_array: +0777", "max_array: +0777 is octal"),
        ("a: 1\nnodes:\n- name: n\n  cpus: 08\n", "nodes.0.cpus: 08 is octal"),
        ("poll_seconds: 12:30:00", 'poll_seconds: must be a number, not "12:30:00" (F:1)'),
        (
            "lifespan_grace: 1:30",
            'lifespan_grace: must be a duration like 90s, 12h or 7d, of at most ten years, not "1:30"',
        ),
        ("port: yes", 'port: must be a whole number, not "yes" (F:1)'),
        ("port: true", "port: must not be true or false (F:1)"),
        ("max_cpu: on", 'max_cpu: must be a number, not "on" (F:1)'),
        ("instance: 12", "instance: must be text: write it in quotes (F:1)"),
        ("mongo_db: true", "mongo_db: must be text: write it in quotes (F:1)"),
        ("nodes: [{name: n, labels: {rack: 12}}]", "nodes.0.labels.rack: must be text: write it in quotes (F:1)"),
        ("port: 1\nhost: a\nport: 2", "port: appears twice, on lines 1 and 3 (F:1)"),
        ("nodes:\n- name: n\n  cpus: 1\n  cpus: 2", "nodes.0.cpus: appears twice, on lines 3 and 4 (F:3)"),
        ("\nschedular_policy: x", "schedular_policy: is not a setting; did you mean scheduler_policy? (F:2)"),
        ("volumes:\n- name: data\n  path: /d\n  mode: rw", "volumes.0.mode: is not a setting"),
        (
            "volumes: home",
            'volumes: must be a list of objects with the fields name, path, mount, acl, not "home" (F:1)',
        ),
        ("nodes: [{name: a}, {name: a}]", "nodes must be unique: a, a"),
        (
            "nodes: [{name: a, url: 'tcp://h:99999'}]",
            "nodes.0.url: has a port that is not a number from 1 to 65535 (F:1)",
        ),
        ("files_url: 'http://'", "files_url: must name a host"),
        *[
            (f"nodes: [{{name: a, public_address: '{address}'}}]", f"nodes.0.public_address: must be {rule}")
            for address, rule in {
                "": "the name or address of a host",
                "http://n1": "the name or address of a host, without scheme and port",
                "n1.lab:8080": "the name or address of a host, without scheme and port",
                "[::1]": "the name or address of a host",
                "n1/path": "the name or address of a host",
                "user@n1": "the name or address of a host",
                "0.0.0.0": "an address that users can connect to",
                "fe80::1%eth0": "an address that users can connect to",
            }.items()
        ],
    ],
)
def test_a_value_of_the_file_is_refused_with_its_line(file: Path, text: str, line: str) -> None:
    assert any(line in told for told in of_file(file, text)), of_file(file, text)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("instance: 007", "instance", "007"),
        ("mongo_db: 12_30", "mongo_db", "12_30"),
        ("mail_from: no", "mail_from", "no"),
        ("port: '010'", "port", 10),
        ("allow_root: yes", "allow_root", True),
        ("metrics_public: off", "metrics_public", False),
        ("max_cpu: 1e3", "max_cpu", 1000.0),
        ("max_cpu: .5", "max_cpu", 0.5),
        ("port: 0x10", "port", 16),
        ("maxlifespan: ~", "maxlifespan", None),
        ("x: &x {name: n}\nnodes: [{<<: *x}]", "nodes", None),
    ],
)
def test_a_value_is_taken_as_it_is_written(file: Path, text: str, name: str, value: object) -> None:
    if "&" in text:
        assert yaml_file.read(_written(file, text)).values[name] == [{"name": "n"}]
        return
    assert getattr(loading.load(_written(file, text)), name) == value


def test_all_faults_of_a_file_are_reported_at_once(file: Path) -> None:
    told = of_file(file, "port: 010\nredis_port: 0\nhost: a\nhost: b\nunknown: 1\n")
    assert [line.partition(":")[0] for line in told] == ["port", "host", "redis_port", "unknown"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "must contain lines of the form `name: value`, and is a list"),
        ("words", "and is a single value"),
        ("a: [", "is not YAML: line 1, column 5"),
        ("a: 1\n---\nb: 2", "is not YAML: line 2"),
    ],
)
def test_a_file_without_settings_is_reported_in_one_line(file: Path, text: str, said: str) -> None:
    (line,) = of_file(file, text)
    assert said in line
    assert "\n" not in line


def test_a_directory_is_not_reported_as_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path) == [f"the configuration file {tmp_path} is a directory"]


def test_a_file_that_refers_to_itself_ends(file: Path) -> None:
    assert "unknown: is not a setting (F:1)" in of_file(file, "unknown: &a [*a]")


def test_an_unknown_name_never_shows_its_value(file: Path) -> None:
    assert "hunter2" not in str(of_file(file, "redis_pasword: hunter2\nsecret_passphrase: 1234567\nport: x"))
    assert "1234567" not in str(of_file(file, "secret_passphrase: 1234567"))


def test_every_secret_is_recognized() -> None:
    """A possible password is never shown, whatever rule it breaks."""
    hidden = [name for name, field in Settings.model_fields.items() if not problems._not(name, "hunter2", Settings)]
    secret = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    assert {*secret, "mongo_url", "files_url", "scheduler_url"} <= {*hidden}


# --- addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://127.0.0.1:27017/?replicaSet=rs0",
        "mongodb://a,b:1,c.lab.test:65535/?replicaSet=rs0",
        "mongodb://user:p%40ss@host",
        "mongodb://u:p@%2Ftmp%2Fmongodb-27017.sock/?replicaSet=rs0",
        "mongodb://[::1]:27017/",
        "mongodb+srv://user:x@cluster.lab.test/db?retryWrites=true",
        "mongodb://mongo_1:27017/",
    ],
)
def test_an_address_of_mongodb_is_taken(url: str) -> None:
    assert urls.check_mongo(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:27017", "http://host", "mongodb://", "mongodb:///db", "mongodb://host:", "mongodb://host:abc"),
        *("mongodb://host:0", "mongodb://host:70000", "mongodb://u:hun/ter2@host", "mongodb://u:hun@ter2@host"),
        *("mongodb://u:hunter2%zz@host", "mongodb://a,,b", "mongodb://a b", "mongodb+srv://host:27017"),
        "mongodb://[::1",
    ],
)
def test_a_malformed_address_of_mongodb_is_one_sentence_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GODOCKER_MONGO_URL", url)
    (line,) = refusal()
    assert line.startswith("mongo_url: ")
    assert line.endswith("(GODOCKER_MONGO_URL)")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("mongodb://u:p@a:1,b:2/?x=y", "a:1,b:2"),
        ("mongodb://u:p@%2Ftmp%2Fm.sock/?x=y", "/tmp/m.sock"),
        ("mongodb://127.0.0.1:7490", "127.0.0.1:7490"),
    ],
)
def test_the_servers_of_an_address_are_shown_without_the_login(url: str, hosts: str) -> None:
    assert urls.mongo_hosts(url) == hosts


def test_an_error_that_ends_the_use_of_mongodb_names_its_servers() -> None:
    with (
        pytest.raises(errors.StoreUnavailable, match=r"^MongoDB at a:1 does not answer \(X\)$"),
        connection._address("a:1"),
    ):
        raise errors.StoreUnavailable("MongoDB does not answer (X)")
    with (
        pytest.raises(errors.ConfigurationError, match=r"MongoDB at a:1 refuses the login \(bad\)"),
        connection._address("a:1"),
    ):
        raise driver_errors.OperationFailure("bad", 18, {"errmsg": "bad"})


def test_an_option_that_the_driver_rejects_is_one_sentence_without_the_password() -> None:
    with pytest.raises(errors.ConfigurationError, match="mongo_url cannot be used") as caught:
        connection._client("mongodb://u:hunter2@host:1/?tls=true&tlsInsecure=true&tlsAllowInvalidCertificates=true")
    assert "hunter2" not in str(caught.value)


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file
