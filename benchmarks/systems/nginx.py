"""An nginx that serves one directory, as a baseline for downloads."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.systems.gateway import NotDone
from godocker.local import ports

START_TIMEOUT = 20.0

#: As packages configure it for files: `sendfile`, one worker.
_CONFIGURATION = """
daemon off;
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    url: str
    pid: int


def is_there() -> bool:
    return shutil.which("nginx") is not None


@contextlib.contextmanager
def running(root: Path) -> Iterator[Nginx]:
    """Run nginx for the files below `root`, and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="god-bench-") as folder:
        port = ports.reserve(Path(folder) / "ports.json", ["nginx"])["nginx"]
        user = "user root;\n" if os.geteuid() == 0 else ""  # the files are their owner's alone
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, root=root, user=user))
        process = subprocess.Popen(["nginx", "-p", folder, "-c", str(configuration)], stdin=subprocess.DEVNULL)
        try:
            _wait_ready(port, process)
            yield Nginx(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            process.wait(START_TIMEOUT)


def _wait_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.05)
    raise NotDone("nginx is not there")
