"""The data directory of `godocker up`, with its lock, secrets and stored environment."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import filelock

from shared import errors

DEFAULT = Path(".godocker")
PREFIX = "GODOCKER_"
MONGOD, REDIS = "mongod", "redis"  #: names of the stores' pid files and logs
_STORE_VARIABLE = "GODOCKER_MONGO_URL"


class DataDirectory:
    """Data directory of one system. All paths are absolute."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run = self.path / "run"
        self.log = self.path / "log"
        self.shared = self.path / "shared"
        self.ports = self.run / "ports.json"
        self._environment = self.run / "environment.json"
        self._secrets = self.path / "secrets.json"
        self._holder = self.run / "up.pid"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Create and lock the directory. Raises `errors.ConfigurationError` if another process holds the lock."""
        try:
            for folder in (self.path, self.run, self.log):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise errors.ConfigurationError(f"{self.path} cannot be created: {error.strerror}") from None
        # Tasks of other users must traverse it to reach their directories below `shared`, and read nothing else.
        self.path.chmod(0o711)
        for folder in (self.run, self.log):
            folder.chmod(0o700)
        lock = filelock.FileLock(self.run / "up.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise errors.ConfigurationError(f"{self.path} is in use: {self._holder_text()}") from None
        try:
            self._holder.write_text(f"{os.getpid()}\n")
            yield
        finally:
            self._holder.unlink(missing_ok=True)
            lock.release()

    def _holder_text(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            return f"godocker up runs there as process {int(self._holder.read_text())}"
        return "another godocker up runs there"

    def secret(self, name: str) -> str:
        """Return a secret, generated at its first use and stored in a file that only we can read."""
        try:
            stored = json.loads(self._secrets.read_text())
        except FileNotFoundError:
            stored = {}
        except (OSError, ValueError) as error:
            raise errors.ConfigurationError(f"{self._secrets} cannot be read: {error}") from None
        if name not in stored:
            stored[name] = secrets.token_hex(32)
            write_private(self._secrets, json.dumps(stored, indent=2))
        return str(stored[name])

    def store_environment(self, environment: Mapping[str, str]) -> None:
        """Store our settings for later commands, readable only by us since they contain secrets."""
        ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        write_private(self._environment, json.dumps(ours, indent=2, sort_keys=True))

    def environment(self) -> dict[str, str]:
        """Return the stored environment. Raises `errors.ConfigurationError` if there is none."""
        try:
            stored = json.loads(self._environment.read_text())
        except FileNotFoundError:
            raise errors.ConfigurationError(
                f"no system was started in {self.path}: run godocker up --data-dir {self.path}"
            ) from None
        except (OSError, ValueError) as error:
            raise errors.ConfigurationError(f"{self._environment} cannot be read: {error}") from None
        return {str(name): str(value) for name, value in stored.items()}

    def has_environment(self) -> bool:
        return self._environment.exists()


def adopt(data_dir: Path | None, *, configured: bool) -> Path | None:
    """
    Adopt the settings of a system started by `up`: that in `data_dir`, or that in `./.godocker` if nothing else selects the
    stores (`configured`: a configuration file was named). Return its directory; None if no system was adopted.
    """
    default = not configured and _STORE_VARIABLE not in os.environ and DataDirectory(DEFAULT).has_environment()
    if data_dir is None and not default:
        return None
    directory = DataDirectory(data_dir or DEFAULT)
    os.environ.update(directory.environment())
    return directory.path


def write_private(path: Path, content: str) -> None:
    """Write a file atomically, at no moment readable by others."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
