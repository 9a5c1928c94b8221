"""A real Prometheus with the deployed configuration and rules, with test addresses and accelerated times."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from godocker.local import ports
from tests.support import waiting
from tests.support.servers.engine import cannot_have

DEPLOY = Path(__file__).parents[3] / "deploy"
FASTER = 30  #: factor of its time: half a minute takes a second

_STOP_TIMEOUT = 20.0
_DURATION = re.compile(r"(?<=for: )\d+[sm]|(?<=\[)\d+[sm](?=\])")
_AGE = re.compile(r"(_seconds(?:\{[^}]*\})?\) > )(\d+)")  #: a gauge of an age, and its limit


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`, or skip the test."""
    found = shutil.which(name)
    if found is None:
        cannot_have("prometheus", f"{name} is not installed (Debian: apt-get install prometheus)")
    assert found is not None
    return found


class Prometheus:
    """A running Prometheus. The addresses of its targets are in one file per job below `directory`."""

    def __init__(self, port: int, directory: Path) -> None:
        self._directory = directory
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False)

    def is_ready(self) -> bool:
        try:
            return self.http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the current samples, without those that are not numbers."""
        answer = self.http.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return [sample for sample in found if not math.isnan(float(sample["value"][1]))]

    def look_at(self, job: str, addresses: Sequence[str]) -> None:
        """Scrape these addresses from now on."""
        file = self._directory / f"{job}.json"
        (new := file.with_suffix(".new")).write_text(json.dumps([{"targets": list(addresses)}]))
        new.replace(file)

    def firing(self) -> set[str]:
        """Return the names of the firing alerts."""
        return {sample["metric"]["alertname"] for sample in self.query('ALERTS{alertstate="firing"}')}


@contextmanager
def running(targets: Mapping[str, Sequence[str]]) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes these addresses, by job."""
    binary = program("prometheus")
    with tempfile.TemporaryDirectory(prefix="godocker-prometheus-") as folder:
        directory = Path(folder)
        port = ports.reserve(directory / "ports.json", ["prometheus"])["prometheus"]
        made = Prometheus(port, directory)
        for job, addresses in {**targets, "prometheus": [f"127.0.0.1:{port}"]}.items():
            made.look_at(job, addresses)
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration(directory)))
        (directory / "alerts.yml").write_text(hurried((DEPLOY / "alerts.yml").read_text()))
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    binary,
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            waiting.until_blocking(
                lambda: made.is_ready() or process.poll() is not None, "Prometheus is ready or ended", timeout=60
            )
            assert process.poll() is None, (directory / "log").read_text()
            yield made
        finally:
            made.http.close()
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_TIMEOUT)


def configuration(directory: Path) -> dict[str, Any]:
    """
    Return the deployed configuration, accelerated, with addresses from files instead of names that only a compose network
    resolves.
    """
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert config["global"]["scrape_interval"] == config["global"]["evaluation_interval"]
    interval = _hurried(config["global"]["scrape_interval"])
    config["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    for job in config["scrape_configs"]:
        for kind in ("dns_sd_configs", "static_configs"):
            job.pop(kind, None)
        files = [str(directory / f"{job['job_name']}.json")]
        job["file_sd_configs"] = [{"files": files, "refresh_interval": interval}]
    return config


def hurried(rules: str) -> str:
    """
    Return the rules for a time that runs `FASTER`: each `for`, each range and each age limit is divided by it. Expressions
    and other limits, latencies included, stay as deployed.
    """
    shorter = _DURATION.sub(lambda found: _hurried(found[0]), rules)
    return _AGE.sub(lambda found: f"{found[1]}{int(found[2]) / FASTER:g}", shorter)


def _hurried(duration: str) -> str:
    seconds = int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]
    return f"{round(seconds * 1000 / FASTER)}ms"
