"""A real Prometheus for tests, with the configuration and the rules that are deployed, told where to look and made impatient."""

from __future__ import annotations

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

from godocker import ports
from tests.support import waiting
from tests.support.engine import cannot_have

DEPLOY = Path(__file__).parents[2] / "deploy"
INTERVAL = "1s"
RANGE = "6s"  #: what rules look back, instead of minutes

_STOP_TIMEOUT = 20.0


def program(name: str) -> str:
    """`prometheus` or `promtool`, or no test."""
    found = shutil.which(name)
    if found is None:
        cannot_have("prometheus", f"{name} is not installed (Debian: apt-get install prometheus)")
    assert found is not None
    return found


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False)

    def is_ready(self) -> bool:
        try:
            return self.http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that there are now, without those that are no number."""
        answer = self.http.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return [sample for sample in found if not math.isnan(float(sample["value"][1]))]

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {sample["metric"]["alertname"] for sample in self.query('ALERTS{alertstate="firing"}')}


@contextmanager
def running(targets: Mapping[str, Sequence[str]]) -> Iterator[Prometheus]:
    """A Prometheus that asks these addresses, by job."""
    binary = program("prometheus")
    with tempfile.TemporaryDirectory(prefix="godocker-prometheus-") as folder:
        directory = Path(folder)
        port = ports.reserve(directory / "ports.json", ["prometheus"])["prometheus"]
        everything = {**targets, "prometheus": [f"127.0.0.1:{port}"]}
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration(everything)))
        (directory / "alerts.yml").write_text(impatient((DEPLOY / "alerts.yml").read_text()))
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
        made = Prometheus(port)
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


def configuration(targets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The deployed one, with addresses instead of names that only a compose network resolves."""
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
    for job in config["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": list(targets[job["job_name"]])}]
    return config


def impatient(rules: str) -> str:
    """The rules with what takes minutes made to take seconds."""
    rules = re.sub(r"for: \d+m", f"for: {INTERVAL}", rules)
    return re.sub(r"\[\d+m\]", f"[{RANGE}]", rules)
