"""A deployment of GoDocker as an operator makes it: checkout, `deploy/init`, Compose."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.use.client import Client
from tests.deploy import images
from tests.deploy.server import ADDRESS, Server
from tests.support import waiting

OVERRIDE = Path(__file__).with_name("docker-compose.override.yml")
PORT = 6543
PROJECT = "deployed"
INIT_TIMEOUT = 400.0  #: seconds, the build included
COMPOSE_TIMEOUT = 200.0
HEALTHY_TIMEOUT = 240.0
_KEY = re.compile(r'\{"id": "admin", "apikey": "([^"]+)"\}')
_CHECKOUT = ("deploy", "godocker", "godocker_client", "services", "shared")
_FILES = ("pyproject.toml", "requirements.lock", "README.md", "LICENSE", ".dockerignore")
_SEPARATOR = "com.docker.compose.service"


class Deployment:
    """A deployment. `checkout` is a copy, so that generated files stay out of ours."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.checkout = server.directory / "checkout"
        self.directory = self.checkout / "deploy"
        self.shared_dir = server.directory / "shared"
        for name in _CHECKOUT:
            ignored = shutil.ignore_patterns("__pycache__", ".env", "secrets", "tls", "godocker.yml")
            shutil.copytree(images.REPOSITORY / name, self.checkout / name, ignore=ignored)
        for name in _FILES:
            shutil.copy(images.REPOSITORY / name, self.checkout / name)
        shutil.copy(OVERRIDE, self.directory)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GODOCKER_", "COMPOSE_"))},
            "DOCKER_HOST": server.engine.url,
            # What an operator would write into .env.
            "COMPOSE_FILE": f"docker-compose.yml:{OVERRIDE.name}",
            "COMPOSE_PROJECT_NAME": PROJECT,
            "DOCKER_SOCKET": str(server.engine.socket),
            "SHARED_DIR": str(self.shared_dir),
            "GATEWAY_ADDRESS": "0.0.0.0",
            # Builders in plugins are not there.
            "COMPOSE_DOCKER_CLI_BUILD": "0",
            "DOCKER_BUILDKIT": "0",
        }

    def init(self) -> str:
        """Run `deploy/init` and return its output."""
        return self._run(str(self.directory / "init"), timeout=INIT_TIMEOUT)

    def compose(self, *arguments: str, timeout: float = COMPOSE_TIMEOUT) -> str:
        return self._run("docker-compose", *arguments, timeout=timeout)

    def up(self) -> None:
        """Start everything and wait until it is healthy."""
        self.compose("up", "-d")
        self.wait_well()

    def wait_well(self) -> None:
        try:
            waiting.until_blocking(
                lambda: not self.unwell(), "all services are healthy", timeout=HEALTHY_TIMEOUT, interval=0.5
            )
        except AssertionError as error:
            names = [name.removeprefix(f"{PROJECT}_").rpartition("_")[0] for name in self.unwell()]
            raise AssertionError(f"{self.unwell()}\n{self.compose('logs', '--tail=10', *names)}") from error

    def unwell(self) -> dict[str, str]:
        """Return the unhealthy containers with their states."""
        found = {container["Name"].strip("/"): _state(container) for container in self.containers()}
        return {name: state for name, state in found.items() if state not in ("healthy", "done")}

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """Inspect the containers of all services or of one."""
        label = f"{_SEPARATOR}={service}" if service else f"com.docker.compose.project={PROJECT}"
        return [self.inspect(item["Id"]) for item in self._ask("/containers/json", label=label)]

    def task_container(self, task_id: int) -> dict[str, Any]:
        with self.server.engine.client() as client:
            filters = json.dumps({"label": [f"godocker.task={task_id}"]})
            [found] = client.get("/containers/json", params={"all": "1", "filters": filters}).json()
        return self.inspect(found["Id"])

    def inspect(self, container: str) -> dict[str, Any]:
        with self.server.engine.client() as client:
            answer = client.get(f"/containers/{container}/json")
            answer.raise_for_status()
            return dict(answer.json())

    def addresses(self) -> dict[str, list[str]]:
        """Return the addresses of each service's containers."""
        found: dict[str, list[str]] = {}
        for container in self.containers():
            networks = container["NetworkSettings"]["Networks"].values()
            own = [network["IPAddress"] for network in networks if network["IPAddress"]]
            found.setdefault(container["Config"]["Labels"][_SEPARATOR], []).extend(own)
        return found

    def execute(self, service: str, *argv: str) -> str:
        return self.compose("exec", "-T", service, *argv)

    def _ask(self, path: str, *, label: str) -> list[dict[str, Any]]:
        filters = json.dumps({"label": [label]})
        with self.server.engine.client() as client:
            return list(client.get(path, params={"all": "1", "filters": filters}).json())

    def _run(self, *argv: str, timeout: float) -> str:
        done = subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{argv} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


def first_key(output: str) -> str | None:
    """Return the API key from the output of `deploy/init`."""
    found = _KEY.search(output)
    return found[1] if found else None


def as_user(server: Server, login: str, apikey: str, story: Callable[[Client], Any]) -> Any:
    """Log in from outside, through the published port, and run `story`."""

    def told() -> Any:
        with httpx.Client(base_url=f"http://{ADDRESS}:{PORT}", timeout=30) as http:
            answer = http.post("/api/1.0/authenticate", json={"user": login, "apikey": apikey})
            assert answer.status_code == 200, answer.text
            http.headers["Authorization"] = f"Bearer {answer.json()['token']}"
            return story(Client(http))

    return server.outside.call(told)


def _state(container: dict[str, Any]) -> str:
    state = container["State"]
    health = state.get("Health", {}).get("Status")
    if health is None or health == "none":
        return "done" if state["Status"] == "exited" and state["ExitCode"] == 0 else str(state["Status"])
    return str(health) if state["Running"] else str(state["Status"])
