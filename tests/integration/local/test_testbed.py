"""Tests of `make cluster`: three hosts in one terminal, faults from another."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cluster import requirements, running
from tests.cluster.commands import ClusterError
from tests.support import waiting
from tests.support.harness.cluster import check_requirements

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.stores, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "tests.cluster")
READY = re.compile(r"^GoDocker is ready at (http://\S+)$", re.MULTILINE)
PATIENCE = 90.0


class Terminal:
    """A terminal that runs `up`, and commands from others."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, output: Path) -> None:
        self.process = process
        self.name = name
        self._output = output

    def text(self) -> str:
        return self._output.read_text()

    def url(self) -> str:
        """Wait until GoDocker is ready, and return its URL."""
        waiting.until_blocking(
            lambda: READY.search(self.text()) or self.process.poll() is not None, "it is ready", timeout=PATIENCE
        )
        ready = READY.search(self.text())
        assert ready is not None, self.text()
        return ready[1]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [*COMMAND, "--name", self.name, *arguments]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def states(self) -> list[str]:
        """Return the states of the hosts from `status`."""
        lines = self.run("status").stdout.splitlines()
        return [line.split("│")[4].strip() for line in lines if line.startswith("│ node")]


@contextmanager
def terminal(folder: Path) -> Iterator[Terminal]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*COMMAND, "--name", name, "up", "--port", "0"], cwd=ROOT, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield Terminal(process, name, output)
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(autouse=True)
def _can_have_hosts() -> None:
    check_requirements()


def test_a_host_is_cut_off_killed_wiped_and_whole_again_by_name(tmp_path: Path) -> None:
    with terminal(tmp_path) as bed:
        url = bed.url()
        assert httpx.get(f"{url}/api/1.0/ping", trust_env=False, timeout=30).status_code == 200
        waiting.until_blocking(lambda: "cut node2" in bed.text(), "it says what can be done")
        assert bed.states() == ["up", "up", "up"]
        assert bed.run("cut", "node2").stdout == "node2 is cut off\n"
        bed.run("kill", "node3")
        assert bed.states() == ["up", "not reached", "no engine"]
        for words in (("heal", "node2"), ("restart", "node3"), ("wipe", "node2")):
            assert bed.run(*words).returncode == 0
        assert bed.states() == ["up", "up", "up"]

        wrong = bed.run("cut", "node7")
        assert wrong.returncode == 1
        assert wrong.stderr == "cluster: there is no host node7: there are node1, node2, node3\n"
        assert "is up already" in bed.run("up").stderr

        cluster = running.find(bed.name)
        assert cluster is not None
        bed.process.send_signal(signal.SIGINT)
        assert bed.process.wait(PATIENCE) == 0
        assert running.traces(cluster.number) == []
        assert running.find(bed.name) is None


def test_whoever_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="need root"):
        requirements.check()


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None if program == "dockerd" else f"/usr/bin/{program}")
    with pytest.raises(ClusterError, match=r"apt-get install --no-install-recommends docker\.io$"):
        requirements.check()
