"""
The body of the engine's create call, built key by key from the run: pure.

No key comes from a user. A new key is added here, with a test of the engine's behaviour, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.executors import types, wrapper
from shared.executors.docker import gpus
from shared.executors.docker.inside import limits, program
from shared.models import attempt_files

INSTANCE = "godocker.instance"  #: the system's mark, or the configured instance of versions without marks
TASK = "godocker.task"
ATTEMPT = "godocker.attempt"
DIRECTORY = "godocker.local.data_directory"  #: the task's directory on the host: events have labels but no mounts
REQUEST = "godocker.request"  #: for people who inspect a container; nothing reads it

#: Capabilities of a task that was granted root: own and enter its files, change to its users, signal their processes.
ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")


def create_body(
    run: types.Run,
    *,
    instance: str,
    network: str,
    pids_limit: int,
    output_grace: float = 0.0,
    grace: float = 0.0,
    has: limits.Capacity | None = None,
    rung: int = 0,
    accounts: Mapping[str, str] | None = None,
    volumes: Sequence[Mapping[str, Any]] = (),
    tmpfs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """
    Return the body for `POST /containers/create`. `network` is the engine's name of the run's network, if it has one; `volumes`
    and `tmpfs` make its temporary storage. `output_grace` and `grace` are the seconds to wait for processes after the command's
    end; `has` is the engine's capacity, `rung` the place in `limits.ULIMITS`; `accounts` maps mount points to files of the host.
    """
    argv = program.argv(run, state=types.ATTEMPTS, output_grace=output_grace, grace=grace)
    home = home_of(run)
    data = next((mount.target for mount in run.mounts if mount.target == types.DATA), None)
    environment = wrapper.environment(run, workdir=types.WORKDIR, home=home, data=data)
    environment |= gpus.environment(run.gpus) | program.INIT_ENVIRONMENT
    return {
        "Image": reference(run.image),
        # The image's own entry point, command, user, stop signal and health check are all overridden.
        "Entrypoint": argv[:1],
        "Cmd": argv[1:],
        "WorkingDir": types.WORKDIR,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "User": "0:0" if run.root else f"{run.uid}:{run.gid}",
        "Hostname": hostname(run),
        "StopSignal": program.STOP_SIGNAL,
        "Healthcheck": {"Test": ["NONE"]},
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "OpenStdin": False,
        "Tty": False,
        "Labels": {
            **labels(run.handle, instance=instance),
            DIRECTORY: run.directory,
            **({REQUEST: run.request} if run.request else {}),
        },
        "ExposedPorts": {_port(mapping): {} for mapping in run.ports},
        "NetworkingConfig": {"EndpointsConfig": _endpoints(run, network=network)},
        "HostConfig": {
            **_host_config(run, network=network, pids_limit=pids_limit),
            **limits.of_run(run.cpus, run.memory, has),
            "Ulimits": limits.ulimits(rung),
            "Mounts": [*_mounts(run), *_files(accounts or {}), *volumes],
            "Tmpfs": dict(tmpfs or {}),
        },
    }


def labels(handle: types.Handle, *, instance: str) -> dict[str, str]:
    """Return the labels that identify a container as ours and its attempt. `instance` is the system's mark."""
    return {INSTANCE: instance, TASK: str(handle.task_id), ATTEMPT: str(handle.attempt)}


def hostname(run: types.Run) -> str:
    """Return a task's host name, the same for all attempts; others in its network find it by this name."""
    return f"task-{run.handle.task_id}"


def home_of(run: types.Run) -> str | None:
    """Return where the run finds its user's home; None without a `home` volume."""
    return next((mount.target for mount in run.mounts if mount.name == "home"), None)


def reference(image: str) -> str:
    """Return an image's name with its tag, `latest` by default as in `docker run`."""
    if "@" in image or ":" in image.rsplit("/", 1)[-1]:
        return image
    return f"{image}:latest"


def _host_config(run: types.Run, *, network: str, pids_limit: int) -> dict[str, Any]:
    return {
        "GroupAdd": [] if run.root else [str(group) for group in run.groups if group <= limits.MOST_ID],
        "CapDrop": ["ALL"],
        "CapAdd": list(ROOT_CAPABILITIES) if run.root else [],
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "IpcMode": "private",
        "NetworkMode": network if run.network else "none",
        "PortBindings": {_port(mapping): [{"HostIp": "", "HostPort": str(mapping.host)}] for mapping in run.ports},
        "Devices": gpus.paths(run.gpus),
        "DeviceRequests": gpus.requests(run.gpus),
        # Engines resolve a container's own name only in a network; without one it would mean nothing.
        "ExtraHosts": [] if run.network else [f"{hostname(run)}:127.0.0.1"],
        "PidsLimit": pids_limit,
        "Init": True,
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": False,
    }


def _endpoints(run: types.Run, *, network: str) -> dict[str, Any]:
    # Others in a user's or project's network find it by its container's name and by this one, the same for all attempts.
    named = run.network is not None and run.network != types.PUBLIC
    return {network: {"Aliases": [hostname(run)]}} if named else {}


def _port(mapping: types.PortMapping) -> str:
    return f"{mapping.container}/tcp"


def _mounts(run: types.Run) -> list[dict[str, Any]]:
    # `Mounts`, not `Binds`: for the latter the engine makes a missing source, as root.
    mounts = [
        _bind(run.directory, types.WORKDIR, read_only=False, recursive=True),
        _bind(run.state or f"{run.directory}/{attempt_files.STATE}", types.ATTEMPTS, read_only=False, recursive=True),
    ]
    for mount in run.mounts:
        # On engines before 25, read-only does not cover mounts below the source: where root runs, these are left out.
        mounts.append(
            _bind(mount.source, mount.target, read_only=mount.read_only or run.root, recursive=not run.root),
        )
    return mounts


def _files(accounts: Mapping[str, str]) -> list[dict[str, Any]]:
    return [_bind(source, target, read_only=True, recursive=False) for target, source in accounts.items()]


def _bind(source: str, target: str, *, read_only: bool, recursive: bool) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": not recursive},
    }
