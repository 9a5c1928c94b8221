"""Tests of reloads: only live settings change, all or none."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from tests.acceptance.use.client import Client
from tests.support import samples, waiting
from tests.support.harness.system import System, running_system

SERVICES = ("api", "api-2", "scheduler", "watcher", "files")


class Reloaded:
    """A system with a configuration file that the test rewrites."""

    def __init__(self, system: System, file: Path) -> None:
        self.system = system
        self._file = file
        self._asked = 0

    def reload(self, content: Mapping[str, object]) -> dict[str, dict[str, Any]]:
        """Write the file, reload, and return the result of each service."""
        write(self._file, content)
        self._asked += 1
        os.kill(self.system.up_pid, signal.SIGHUP)
        return {service: self._said(service) for service in SERVICES}

    def _said(self, service: str) -> dict[str, Any]:
        def look() -> list[dict[str, Any]]:
            lines = [
                line for line in self.system.log(service).splitlines() if '"settings.' in line and line.endswith("}")
            ]
            return [orjson.loads(line) for line in lines][self._asked - 1 :]

        return dict(waiting.until_blocking(look, f"{service} has said what came of it", timeout=60)[0])


def write(file: Path, content: Mapping[str, object]) -> None:
    draft = file.with_suffix(".new")
    draft.write_text(yaml.safe_dump(dict(content)))
    draft.replace(file)


@contextmanager
def reloadable(file: Path, content: Mapping[str, object]) -> Iterator[Reloaded]:
    write(file, content)
    with running_system("--config", str(file), "--workers", "2", executor="simulated") as system:
        yield Reloaded(system, file)


def test_what_can_change_changes_in_all_services_and_what_cannot_changes_nothing(tmp_path: Path) -> None:
    with reloadable(tmp_path / "god.yaml", {"nodes": [node("n1")]}) as running:
        system = running.system
        with system.client(system.token()) as http:
            client = Client(http)
            new = {"max_cpu": 2, "nodes": [node("n1"), node("n2", labels={"new": "yes"})], "log_level": "warning"}
            said = running.reload(new)
            assert {line["event"] for line in said.values()} == {"settings.reloaded"}
            assert {name for line in said.values() for name in line["changed"]} == set(new)

            answer = http.post("/api/1.0/task", json=samples.submission(**{"requirements.cpu": 4}))
            assert (answer.status_code, "at most 2" in answer.text) == (422, True)
            sent = samples.submission(**{"requirements.label": ["new==yes"], "requirements.cpu": 1})
            client.wait(client.submit(sent), timeout=60)

            said = running.reload(
                {**new, "max_cpu": 8, "lease_seconds": 30, "secret_passphrase": "0123456789abcdef" * 2}
            )
            for line in said.values():
                assert line["event"] == "settings.not_reloaded"
                assert "lease_seconds" in line["error"]
                assert "0123456789" not in str(line)
            answer = http.post("/api/1.0/task", json=samples.submission(**{"requirements.cpu": 4}))
            assert answer.status_code == 422

            said = running.reload({**new, "max_cpu": "many"})
            assert {line["event"] for line in said.values()} == {"settings.not_reloaded"}
            assert "max_cpu" in said["api"]["error"]

            said = running.reload({**new, "max_cpu": 8})
            assert {tuple(line["changed"]) for line in said.values()} == {("max_cpu",)}
            answer = http.post("/api/1.0/task", json=samples.submission(**{"requirements.cpu": 4}))
            assert answer.status_code == 200, answer.text
        assert system.stop() == 0


def test_the_command_says_who_took_what_and_asks_nobody_to_read_what_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "god.yaml"
    with reloadable(file, {"nodes": [node("n1")]}) as running:
        system = running.system
        write(file, {"nodes": [node("n1")], "max_cpu": 2, "log_level": "error"})
        assert took(system) == {service: (["log_level", "max_cpu"], None) for service in SERVICES}
        assert took(system) == {service: ([], None) for service in SERVICES}
        assert "no changes" in system.run("reload").stdout

        write(file, {"nodes": [node("n1")], "max_cpu": 4, "log_level": "error", "lease_seconds": 30})
        for changed, error in took(system, code=1).values():
            assert changed == []
            assert "lease_seconds cannot change while the service runs" in str(error)

        write(file, {"nodes": [node("n1")], "max_cpu": "many"})
        refused = system.run("reload")
        assert refused.returncode == 1
        assert "nothing was reloaded" in refused.stderr
        assert f'max_cpu: must be a number, not "many" ({file}:1)' in refused.stderr
        assert system.stop() == 0


def took(system: System, *, code: int = 0) -> dict[str, tuple[list[str], str | None]]:
    answer = system.run("reload", "--json")
    assert answer.returncode == code, answer.stderr
    return {one["service"]: (sorted(one["changed"]), one["error"]) for one in orjson.loads(answer.stdout)}


def node(name: str, **fields: object) -> dict[str, object]:
    return {"name": name, "cpus": 8, "memory": 16, **fields}
