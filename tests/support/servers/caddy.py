"""A real Caddy with the deployed configuration, in front of a gateway of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from godocker.local import ports
from tests.support import waiting
from tests.support.servers import certificates
from tests.support.servers.engine import cannot_have

CADDYFILE = Path(__file__).parents[3] / "deploy" / "proxy" / "Caddyfile"

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 20.0


class Caddy:
    """A running Caddy. `certificate` is the file of the authority that signed its certificate."""

    def __init__(self, url: str, health: str, certificate: Path) -> None:
        self.url = url
        self.certificate = certificate
        self._health = health

    def is_ready(self) -> bool:
        try:
            return httpx.get(self._health, timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(gateway_port: int, *, changes: Mapping[str, str] | None = None) -> Iterator[Caddy]:
    """Run a Caddy in front of the gateway on this port, with the texts of its configuration replaced as in `changes`."""
    binary = shutil.which("caddy")
    if binary is None:
        cannot_have("caddy", "caddy is not installed (Debian: apt-get install caddy)")
    assert binary is not None
    with tempfile.TemporaryDirectory(prefix="godocker-caddy-") as folder:
        directory = Path(folder)
        certificates.make(directory)
        found = ports.reserve(directory / "ports.json", ["proxy", "health"])
        places = {
            "api:6543": f"127.0.0.1:{gateway_port}",
            "http://127.0.0.1:2020": f"http://127.0.0.1:{found['health']}",
        }
        (directory / "Caddyfile").write_text(_changed(CADDYFILE.read_text(), {**places, **(changes or {})}))
        environment = {
            **os.environ,
            "HOME": folder,
            "XDG_DATA_HOME": folder,
            "XDG_CONFIG_HOME": folder,
            "PROXY_NAME": f"https://127.0.0.1:{found['proxy']}",
            "PROXY_TLS": f"{directory / 'server' / 'cert.pem'} {directory / 'server' / 'key.pem'}",
        }
        command = [binary, "run", "--adapter", "caddyfile", "--config", str(directory / "Caddyfile")]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        made = Caddy(
            environment["PROXY_NAME"],
            places["http://127.0.0.1:2020"],
            directory / "ca.pem",
        )
        try:
            waiting.until_blocking(
                lambda: made.is_ready() or process.poll() is not None, "Caddy is ready or ended", timeout=_START_TIMEOUT
            )
            assert process.poll() is None, (directory / "log").read_text()
            yield made
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_TIMEOUT)


def _changed(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert text.count(old) == 1, f"the deployed Caddyfile does not have {old!r} once"
        text = text.replace(old, new)
    return text
