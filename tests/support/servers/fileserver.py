"""A files service as a separate process, with the grants that a gateway would make."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import httpx

from godocker.local import ports
from shared import clock
from shared.auth import grants
from shared.auth.grants import Grant, Mode
from shared.storage import personal
from tests.support import waiting

ROOT = os.geteuid() == 0
UID, GID = (20001, 20002) if ROOT else (os.getuid(), os.getgid())
TASK = "tasks/0/1"  #: a directory that exists from the start
ALICE = "users/alice"  #: one that does not

_numbers = itertools.count(1)
STOP_TIMEOUT = 20.0


class FileServer:
    """The process, and a client of it."""

    def __init__(self, root: Path, **settings: str) -> None:
        self.shared = root / "shared"
        self.task = self.shared / TASK
        self.task.mkdir(parents=True)
        self.storage = ALICE  #: personal storage that `put` and `delete` use
        self.secret = secrets.token_hex(32)
        self.port = ports.reserve(root / "ports.json", ["files"])["files"]
        self._log = root / "files.log"
        environment = {
            "GODOCKER_SHARED_DIR": str(self.shared),
            "GODOCKER_FILES_PORT": str(self.port),
            "GODOCKER_SECRET_PASSPHRASE": self.secret,
            "GODOCKER_SHARED_SECRET_PASSPHRASE": secrets.token_hex(32),
            **{f"GODOCKER_{name.upper()}": value for name, value in settings.items()},
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GODOCKER_")}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "services.files"],
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process.poll() is None, self.log()
            try:
                return self.http.get("/health").status_code == 200
            except httpx.TransportError:
                return False

        waiting.until_blocking(is_ready, "the files service is well", timeout=60)

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def take_another_storage(self) -> None:
        """Use an unused personal storage from now on."""
        self.storage = f"users/user{next(_numbers)}"

    @property
    def folder(self) -> Path:
        """The directory of the personal storage."""
        return self.shared / self.storage

    @property
    def staging(self) -> Path:
        return self.shared / personal.STAGING

    # --- requests -------------------------------------------------------------------

    def grant(
        self, directory: str = TASK, mode: Mode = Mode.READ, *, quota: int | None = None, at: float | None = None
    ) -> str:
        owner = (UID, GID) if directory.startswith("users/") else None
        grant = Grant(directory, mode, owner, quota)
        return grants.make(grant, key=grants.key(self.secret), now=clock.now() if at is None else at)

    def headers(self, directory: str = TASK, mode: Mode = Mode.READ, *, quota: int | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.grant(directory, mode, quota=quota)}"}

    def get(
        self, path: bytes | str = b"", directory: str = TASK, *, method: str = "GET", **headers: str
    ) -> httpx.Response:
        """Send a GET request; `headers` with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, url(path), headers={**self.headers(directory), **named})

    def put(
        self, path: bytes | str, content: bytes | Iterator[bytes], *, quota: int | None = None, **headers: str
    ) -> httpx.Response:
        sent = {**self.headers(self.storage, Mode.WRITE, quota=quota), **headers}
        return self.http.put(url(path), content=content, headers=sent)

    def delete(self, path: bytes | str) -> httpx.Response:
        return self.http.delete(url(path), headers=self.headers(self.storage, Mode.WRITE))

    def names(self, path: bytes | str = b"", directory: str = TASK) -> list[str]:
        answer = self.get(path, directory)
        assert answer.status_code == 200, answer.text
        return [entry["name"] for entry in answer.json()]

    def begin(self, path: bytes | str) -> socket.socket:
        """Start a download over a separate connection with a small window, of which nothing has been read."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", self.port))
        head = f"GET {url(path)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.grant()}\r\n\r\n"
        connection.sendall(head.encode())
        return connection

    # --- the process ----------------------------------------------------------------

    def reset_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """Return the most memory (bytes) of the process since `reset_peak`."""
        return memory(self.process.pid, "VmHWM")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def memory(pid: int, field: str) -> int:
    """Return a memory field (bytes) of /proc/pid/status, see proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def url(path: bytes | str) -> str:
    raw = path.encode() if isinstance(path, str) else path
    return f"/files?path={quote_from_bytes(raw, safe='/')}"


@contextlib.contextmanager
def running(**settings: str) -> Iterator[FileServer]:
    """Run a healthy files service on a directory of its own. `settings` are named as in the environment, in lower case."""
    folder = Path(tempfile.mkdtemp(prefix="godocker-files-"))
    folder.chmod(0o711)
    try:
        server = FileServer(folder, **settings)
        try:
            server.wait_ready()
            yield server
        finally:
            server.close()
    finally:
        # Not shutil.rmtree, which recurses no deeper than Python's stack.
        subprocess.run(["rm", "-rf", folder], check=True)
