"""Translate an engine's JSON into observations, events and reports: pure."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.executors import types
from shared.executors.docker import body, gpus
from shared.executors.docker.inside import limits

Json = Mapping[str, Any]

OLDEST_API = (1, 41)  #: of Docker 20.10

_STATES = {
    "created": types.RunState.CREATED,
    "running": types.RunState.RUNNING,
    "restarting": types.RunState.RUNNING,
    "paused": types.RunState.PAUSED,
    "exited": types.RunState.EXITED,
    "removing": types.RunState.EXITED,
    "dead": types.RunState.EXITED,
}

_KINDS = {
    "start": types.EventKind.STARTED,
    "die": types.EventKind.EXITED,
    "oom": types.EventKind.OUT_OF_MEMORY,
    "destroy": types.EventKind.REMOVED,
}

#: The `action`s that we request from the engine's event stream.
ACTIONS = tuple(_KINDS)


def handle(labels: Json, *, node: str, owner: types.Owner) -> types.Handle | None:
    """Return the attempt that a container's labels name; None where the mark is not the owner's. See `owned`."""
    mark = labels.get(body.INSTANCE)
    if mark not in owner.marks:
        return None
    try:
        return types.Handle(node, int(labels[body.TASK]), int(labels[body.ATTEMPT]), owner.of(mark))
    except (KeyError, ValueError):
        return None


def owned(found: Json, *, node: str, owner: types.Owner, root: str) -> types.Handle | None:
    """
    Return a container's attempt, from an item of `GET /containers/json` or the answer of `GET /containers/{id}/json`; None for
    one that is not ours. Its labels and its task directory below `root` have to match: versions without marks labelled the
    containers of all systems alike, and a copied database has the mark of its original.
    """
    run = handle(_labels(found), node=node, owner=owner)
    return run if run and types.is_beneath(directory(found), root) else None


def label_of(owner: types.Owner) -> str:
    """
    Return the label by which an engine filters for the owner's containers. Engines have no "or": with two marks, others'
    containers are listed, too.
    """
    return body.INSTANCE if owner.earlier else f"{body.INSTANCE}={owner.mark}"


def directory(found: Json) -> str | None:
    """Return the host's directory that a container has mounted as its task's."""
    sources = (mount.get("Source") for mount in found.get("Mounts") or () if mount.get("Destination") == types.WORKDIR)
    return next(sources, None)


def _labels(found: Json) -> Json:
    return found.get("Labels") or (found.get("Config") or {}).get("Labels") or {}


def state(status: str) -> types.RunState:
    """Return a container's `State.Status` (or `State` in a list) as a run's state."""
    return _STATES.get(status, types.RunState.RUNNING)


def inspected(handle: types.Handle, found: Json, *, ahead: float = 0.0) -> types.Observation:
    """Return a run from `GET /containers/{id}/json` of an engine whose clock is `ahead` seconds ahead of ours."""
    seen = found["State"]
    run_state, started_at = state(seen["Status"]), timestamp(seen.get("StartedAt"), ahead=ahead)
    if run_state is types.RunState.EXITED and seen.get("StartedAt") and started_at is None:
        # Its start failed, and the starter removes it to try again: no run ended.
        run_state = types.RunState.CREATED
    ended = run_state is types.RunState.EXITED
    return types.Observation(
        handle=handle,
        state=run_state,
        exit_code=seen["ExitCode"] if ended else None,
        started_at=started_at,
        ended_at=timestamp(seen.get("FinishedAt"), ahead=ahead) if ended else None,
        out_of_memory=bool(seen.get("OOMKilled")),
        # With `rm -f`, an engine reports this from before the kill until the container is gone.
        removed=seen["Status"] == "removing",
        given=_given(found.get("HostConfig") or {}),
    )


def _given(host_config: Json) -> types.Given:
    # Not from labels: containers of earlier versions have none of these.
    bindings = (host_config.get("PortBindings") or {}).items()
    ports = [(inner.partition("/")[0], outer["HostPort"]) for inner, bound in bindings for outer in bound or ()]
    mappings = tuple(types.PortMapping(int(inner), int(outer)) for inner, outer in ports if outer)
    return types.Given(tuple(gpus.of_container(host_config)), mappings)


def timestamp(text: str | None, *, ahead: float = 0.0) -> float | None:
    """
    Return a time of an engine whose clock is `ahead` seconds ahead of ours, in seconds since the epoch on our clock; None for
    its zero, the year 1.
    """
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text).timestamp() - ahead


def event(
    message: Json, *, node: str, owner: types.Owner, root: str, seen: Container[str] = (), ahead: float = 0.0
) -> types.Event | None:
    """
    Return the event of one message of `GET /events` from an engine whose clock is `ahead` seconds ahead of ours; None for one
    that is not about a run of ours, see `owned`. `seen` has the ids of containers known as ours: for those of versions without
    marks, messages lack the directory.
    """
    attributes = message.get("Actor", {}).get("Attributes", {})
    kind = _KINDS.get(str(message.get("Action")))
    run = handle(attributes, node=node, owner=owner)
    if kind is None or run is None:
        return None
    if identifier(message) not in seen and not types.is_beneath(attributes.get(body.DIRECTORY), root):
        return None
    code = attributes.get("exitCode", "") if kind is types.EventKind.EXITED else ""
    return types.Event(
        node=node,
        kind=kind,
        handle=run,
        exit_code=int(code) if code.isdigit() else None,
        at=message["timeNano"] / 1e9 - ahead if "timeNano" in message else None,
    )


def identifier(message: Json) -> str:
    """Return the id of the container that a message of `GET /events` is about."""
    return str(message.get("Actor", {}).get("ID", ""))


def cpu_seconds(sample: Json) -> float:
    return float(sample["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


def stats(sample: Json, *, at: float, cpu_percent: float) -> types.Stats:
    """Return the sample in an answer of `GET /containers/{id}/stats`."""
    memory = sample.get("memory_stats", {})
    details = memory.get("stats", {})
    # Droppable page cache is no memory that a task needs (cgroup v1 and v2 name it differently).
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    networks = (sample.get("networks") or {}).values()
    return types.Stats(
        at=at,
        cpu_percent=cpu_percent,
        memory=max(0, memory.get("usage", 0) - cache),
        memory_limit=memory.get("limit", 0),
        network_rx=sum(network["rx_bytes"] for network in networks),
        network_tx=sum(network["tx_bytes"] for network in networks),
        pids=sample.get("pids_stats", {}).get("current", 0),
    )


def report(
    info: Json,
    *,
    name: str,
    labels: Mapping[str, str],
    cpus: float | None,
    memory: int | None,
    configured_gpus: Sequence[str] = (),
    ahead: float = 0.0,
    api: tuple[int, ...] | None = None,
) -> types.NodeReport:
    """
    Return a node's report from `GET /info`. Configured values (`cpus`, `memory` in bytes, `labels`, GPUs) override those of the
    engine. `api` is the API version in use.
    """
    reason = None
    if api is not None and api < OLDEST_API:
        spoken, needed = (".".join(map(str, version)) for version in (api, OLDEST_API))
        reason = (
            f"its engine, Docker {info.get('ServerVersion', 'of an unknown version')}, speaks API version {spoken}, "
            f"and GoDocker needs {needed}, which Docker 20.10 brought"
        )
    elif info.get("OSType", "linux") != "linux":
        reason = f"its containers are {info['OSType']} ones, not Linux"
    has = limits.capacity(info)
    return types.NodeReport(
        name=name,
        executor="docker",
        ready=reason is None,
        reason=reason,
        cpus=cpus if cpus is not None else float(info.get("NCPU", 0)),
        memory=memory if memory is not None else int(info.get("MemTotal", 0)),
        gpus=tuple(configured_gpus or gpus.of_engine(info)),
        labels={**_engine_labels(info), **labels},
        version=str(info.get("ServerVersion", "")),
        clock_ahead=ahead,
        engine_cpus=has.cpus if has else None,
        engine_memory=has.memory if has else None,
    )


def _engine_labels(info: Json) -> dict[str, str]:
    pairs = (label.partition("=") for label in info.get("Labels") or [])
    return {key: value for key, _, value in pairs}
