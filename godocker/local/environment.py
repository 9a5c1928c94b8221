"""Environment variables for the services of `up`: executor, addresses, secrets."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from godocker.docker import engine_probe
from godocker.local import ports
from godocker.local.data_directory import DataDirectory
from shared import errors
from shared.settings import Settings

SECRETS = ("secret_passphrase", "shared_secret_passphrase")
SERVICES = ("scheduler", "watcher", "files")  #: besides the api; each has its own port
NOT_ISOLATED = (
    "No Docker Engine answers: tasks run as processes of this machine, NOT ISOLATED from it or from each other."
)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `godocker up`. None: the configured value, else the default."""

    data_dir: Path
    host: str | None = None
    port: int | None = None
    executor: str | None = None
    workers: int = 1
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Executor:
    """The chosen executor, settings for it, and a warning for the operator."""

    name: str
    settings: Mapping[str, str]
    warning: str | None = None


def choose_executor(requested: str | None, given: Settings, environment: Mapping[str, str]) -> Executor:
    """Choose `requested`, else the configured executor, else Docker if an engine answers, else processes."""
    name = requested or (given.executor if "executor" in given.model_fields_set else "auto")
    if name not in ("auto", "docker", "process", "simulated"):
        raise errors.ConfigurationError(f"there is no executor {name}: choose auto, docker, process or simulated")
    if name in ("process", "simulated"):
        return Executor(name, {})
    if "nodes" in given.model_fields_set:
        return Executor("docker", {})
    node = engine_probe.configured(environment)
    if name == "auto" and not engine_probe.answers(node):
        return Executor("process", {}, NOT_ISOLATED)
    if node.url == engine_probe.DEFAULT_URL:
        return Executor("docker", {})
    return Executor("docker", {"GODOCKER_NODES": f"[{node.model_dump_json(exclude_none=True)}]"})


def check_public(executor: str, host: str, given: Settings) -> None:
    """Raise `errors.ConfigurationError` if other machines could reach a system that runs tasks without isolation."""
    if executor == "process" and not is_loopback(host) and not given.process_public:
        raise errors.ConfigurationError(
            f"anyone who reaches {host} could run tasks as processes of this machine, without isolation. "
            "Use Docker, listen on --host 127.0.0.1, or allow it with `process_public: true` "
            "(GODOCKER_PROCESS_PUBLIC=true)"
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def decide(options: Options, given: Settings, directory: DataDirectory, executor: Executor) -> dict[str, str]:
    """Return the variables of all services, without the addresses of the stores and of the gateway's socket."""
    configured = given.model_fields_set
    chosen = {"GODOCKER_DATA_DIR": str(directory.path), "GODOCKER_EXECUTOR": executor.name, **executor.settings}
    if options.config is not None:
        chosen["GODOCKER_CONFIG"] = str(options.config.absolute())
    if "shared_dir" not in configured:
        chosen["GODOCKER_SHARED_DIR"] = str(directory.shared)
    elif not given.shared_dir.is_absolute():
        raise errors.ConfigurationError(f"shared_dir must be an absolute path, not {given.shared_dir}")
    for name in SECRETS:
        if name not in configured:
            chosen[f"GODOCKER_{name.upper()}"] = directory.secret(name)
    missing = [name for name in SERVICES if f"{name}_port" not in configured]
    for name, port in ports.reserve(directory.ports, missing).items():
        chosen[f"GODOCKER_{name.upper()}_PORT"] = str(port)
    return chosen


def closed_parents(path: Path) -> list[Path]:
    """Return the parent directories of `path` that other users cannot traverse; none if we are not root."""
    if os.geteuid() != 0:
        return []
    return [folder for folder in reversed(path.parents) if folder.exists() and not folder.stat().st_mode & 0o001]
