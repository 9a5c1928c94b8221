"""A temporary Docker Engine in a directory, for demonstrations and tests."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx

START_TIMEOUT = 40.0  #: seconds for the engine to answer
STOP_TIMEOUT = 30.0  #: seconds for it to end before it is killed
CALL_TIMEOUT = 30.0  #: seconds for one call
INSTALL_TIMEOUT = 300.0  #: seconds
PACKAGES = ("docker.io", "iptables", "busybox-static")
BUSYBOX = Path("/bin/busybox")


class EngineUnavailable(Exception):
    """No engine can be started here; the text says in one line what is missing."""


class Engine:
    """A running Docker Engine at a socket of this machine."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def answers(self) -> bool:
        """Return whether the engine answers within a second."""
        try:
            # First a plain connection: the HTTP client does not close a socket that could not connect.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(str(self.socket))
            with self.client() as client:
                return client.get("/_ping", timeout=1.0).status_code == 200
        except (httpx.HTTPError, OSError):
            return False

    def remove_containers(self) -> None:
        with self.client() as client:
            for container in client.get("/containers/json", params={"all": "1"}).json():
                client.delete(f"/containers/{container['Id']}", params={"v": "1", "force": "1"})

    def remove_networks(self) -> None:
        """Remove unused networks, whose bridges would outlive the engine."""
        with self.client() as client:
            client.post("/networks/prune")

    def import_image(self, archive: bytes | Iterable[bytes], *, name: str, tag: str = "latest") -> None:
        """
        Create an image from a tar archive of its files. Pass a large archive in pieces: the HTTP client copies the rest of a
        piece at every write.
        """
        with self.client() as client:
            answer = client.post(
                "/images/create",
                params={"fromSrc": "-", "repo": name, "tag": tag},
                content=archive,
                headers={"Content-Type": "application/x-tar"},
            )
            answer.raise_for_status()
            if '"error"' in answer.text:
                raise EngineUnavailable(
                    f"the image {name} could not be created: {answer.text.strip().splitlines()[-1]}"
                )

    def client(self) -> httpx.Client:
        """Return an HTTP client of the engine, for requests outside the executor."""
        transport = httpx.HTTPTransport(uds=str(self.socket))
        return httpx.Client(transport=transport, base_url="http://localhost", timeout=CALL_TIMEOUT)


class LocalEngine(Engine):
    """
    A `dockerd` with socket, images and containers below one directory. `launcher` is a command that ends by executing its
    arguments.
    """

    def __init__(self, directory: Path, *, options: tuple[str, ...] = (), launcher: tuple[str, ...] = ()) -> None:
        super().__init__(directory / "docker.sock")
        self._directory = directory
        self._options = options
        self._launcher = launcher
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the pid of the running dockerd. Raises `EngineUnavailable` if it does not run."""
        if self._process is None:
            raise EngineUnavailable("the engine is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the daemon and wait until it answers. Raises `EngineUnavailable` with the last line of its log."""
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._launcher, _dockerd(), *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                lines = log.read_text(errors="replace").strip().splitlines()
                raise EngineUnavailable(f"dockerd did not start: {lines[-1] if lines else 'its log is empty'}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the daemon with SIGTERM, as a service manager does. Its containers end too."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT)
        self._process = None

    def kill(self) -> None:
        """Kill the daemon with SIGKILL, so that it cannot clean up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def take_down(self) -> None:
        """Remove all containers, stop the daemon and delete its directory."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                self.remove_containers()
                self.remove_networks()
        self.stop()
        # A killed daemon leaves its mounts.
        for point in sorted(_mounts_below(self._directory), reverse=True):
            subprocess.run(["umount", "-l", point], check=False, timeout=CALL_TIMEOUT, capture_output=True)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _arguments(self) -> list[str]:
        return [
            *("--data-root", str(self._directory / "data")),
            *("--exec-root", str(self._directory / "exec")),
            *("--pidfile", str(self._directory / "pid")),
            *("--host", self.url),
            # No bridge and no rules, so as not to disturb another engine on this machine.
            *("--bridge", "none", "--iptables=false"),
            *self._options,
        ]


def install() -> None:
    """Install Debian's packages for an engine unless they are present. Raises `EngineUnavailable`."""
    if os.geteuid() != 0:
        raise EngineUnavailable("starting a Docker Engine needs root")
    if _is_installed():
        return
    if not shutil.which("apt-get"):
        raise EngineUnavailable("dockerd or a static /bin/busybox is missing, and there is no apt-get to install them")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (command, ["apt-get", "update", "-q"], command):
        try:
            done = subprocess.run(step, check=False, timeout=INSTALL_TIMEOUT, capture_output=True, env=environment)
        except subprocess.TimeoutExpired:
            raise EngineUnavailable(f"`{' '.join(step)}` did not finish within {INSTALL_TIMEOUT:g} s") from None
        if _is_installed():
            return
    raise EngineUnavailable(f"`{' '.join(command)}` failed with code {done.returncode}")


def busybox_archive() -> bytes:
    """Return a tar archive of a file system that contains only busybox."""
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, timeout=10).stdout.decode().split()
    with _archive() as (buffer, archive):
        for folder in ("bin", "etc", "tmp"):
            _add_folder(archive, folder, mode=0o1777 if folder == "tmp" else 0o755)
        _add_file(archive, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for applet in applets:
            if applet != "busybox":  # a link of this name would replace the program
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        _add_file(archive, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n", mode=0o644)
    return buffer.getvalue()


def shell_less_archive() -> bytes:
    """Return a tar archive of a file system without a shell: one file."""
    with _archive() as (buffer, archive):
        _add_file(archive, "nothing-to-run", b"\n", mode=0o644)
    return buffer.getvalue()


@contextlib.contextmanager
def _archive() -> Iterator[tuple[io.BytesIO, tarfile.TarFile]]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        yield buffer, archive


def _add_folder(archive: tarfile.TarFile, name: str, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _add_file(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _is_installed() -> bool:
    return shutil.which("dockerd") is not None and BUSYBOX.exists()


def _dockerd() -> str:
    path = shutil.which("dockerd")
    if path is None:
        raise EngineUnavailable("dockerd is not installed")
    return path


def _mounts_below(directory: Path) -> list[str]:
    points = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return [point for point in points if point.startswith(f"{directory}/")]
