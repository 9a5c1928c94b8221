"""Start one attempt in a container: two calls in the usual case, and the same container every time."""

from __future__ import annotations

import asyncio
from typing import Any

import aiodocker
import structlog

from shared import clock, errors, settings
from shared.executors import types
from shared.executors.docker import body, client, host, observe, start_errors
from shared.executors.docker.inside import limits

log = structlog.get_logger(__name__)

_PAUSE = (
    0.1  #: seconds before the next check of a name that is taken by a container that does not exist yet or any more
)


async def start(on: host.Host, run: types.Run, config: settings.Settings) -> float:
    """Start a run as `base.Executor.start` does."""
    if run.ports and run.network is None:
        raise errors.StartRefused("ports need a network")
    on.owner.mark_of(run.handle)
    deadline = clock.monotonic() + config.start_timeout
    while clock.monotonic() < deadline:
        await on.networks.ensure(run.network)
        rung = on.rung
        identifier = await _create(on, run, config, deadline)
        if identifier is None:
            container = await _taken(on, run.handle)
            if container is None:
                # It is being created (the engine reserves the name first) or removed.
                await asyncio.sleep(_PAUSE)
                continue
            if observe.state(container["State"]["Status"]) is not types.RunState.CREATED:
                log.info("container.adopted", run=run.handle.name, node=on.engine.name)
                return _started_at(on, container)
            identifier = str(container["Id"])
        started = await _start(on, run, identifier, config, rung)
        if started is not None:
            on.known.note(run.handle, identifier)
            return started
    raise errors.NodeUnavailable(on.engine.name, f"container {run.handle.name} is being created or removed")


async def _create(on: host.Host, run: types.Run, config: settings.Settings, deadline: float) -> str | None:
    """Create the container and return its id; None where its name is taken."""
    looked = asked_again = False
    while True:
        mounts = await on.accounts.mounts(run, home=body.home_of(run) or types.WORKDIR)
        content = body.create_body(
            run,
            instance=on.owner.mark_of(run.handle),
            network=on.networks.name_of(run.network),
            pids_limit=config.pids_limit,
            output_grace=config.output_grace,
            grace=max(config.kill_grace, config.lifespan_grace),
            has=await on.has(),
            rung=on.rung,
            accounts=mounts,
            volumes=on.scratch.volumes(run),
            tmpfs=on.scratch.tmpfs(run),
        )
        try:
            _, created = await on.engine.call(
                "POST",
                "containers/create",
                params={"name": run.handle.name},
                body=content,
                timeout=config.start_timeout,
            )
            identifier = str(created["Id"])
            if mounts is None:
                # The first container of its image. It is created again where the image lacks its user.
                await on.accounts.learn(run, identifier)
                if await on.accounts.mounts(run, home=body.home_of(run) or types.WORKDIR):
                    await _discard(on.engine, identifier)
                    continue
            return identifier
        except aiodocker.DockerError as error:
            if error.status == 409:
                return None
            if clock.monotonic() < deadline and on.networks.was_lost(run.network, error.message):
                await on.networks.ensure(run.network)
                continue
            if limits.is_refused_cpus(error.message) and on.capacity is not None and not asked_again:
                on.capacity, asked_again = None, True  # the engine has shrunk
                continue
            if run.tmpstorage is not None and on.scratch.is_refused_quota(error.message):
                continue
            if error.status != 404 or looked:
                raise start_errors.start(on.engine.name, run, error.status, error.message) from error
            await _bring_back(on, run, deadline)
            looked = True


async def _bring_back(on: host.Host, run: types.Run, deadline: float) -> None:
    """Pull an image that disappeared after the check, within the usual timeout of a start."""
    on.images.forget(run.image)
    try:
        async with asyncio.timeout(max(0.0, deadline - clock.monotonic())):
            await on.images.ensure(run.image)
    except TimeoutError:
        raise errors.NodeUnavailable(on.engine.name, f"the image {run.image} was removed and is not back yet") from None


async def _taken(on: host.Host, handle: types.Handle) -> dict[str, Any] | None:
    """Return the container with the run's name; None where it is gone again. Raises for one that is not this run."""
    engine = on.engine
    try:
        _, container = await engine.call("GET", f"containers/{handle.name}/json")
    except aiodocker.DockerError as error:
        if error.status == 404:
            return None
        raise errors.NodeUnavailable(engine.name, client.words(error.message)) from error
    if observe.owned(container, node=engine.name, owner=on.owner, root=on.root) != handle:
        raise errors.StartRefused(
            f"the name {handle.name} is taken on {engine.name} by a container of {_whose(on, container)}"
        )
    return dict(container)


def _whose(on: host.Host, container: dict[str, Any]) -> str:
    mark = (container["Config"].get("Labels") or {}).get(body.INSTANCE)
    if mark is None:
        return "somebody else"
    if mark == on.owner.mark:
        # Two systems with one mark: a database was copied while its original is in use.
        return (
            f"a copy of this system, whose tasks' directories are not in {on.root} ({observe.directory(container)} is)"
        )
    return f"the GoDocker system {mark}"


async def _start(on: host.Host, run: types.Run, identifier: str, config: settings.Settings, rung: int) -> float | None:
    """Start the container and return when; None where it or its network was removed meanwhile."""
    engine = on.engine
    try:
        await on.scratch.hand_over(run, identifier)
        status, _ = await engine.call("POST", f"containers/{identifier}/start", timeout=config.start_timeout)
    except aiodocker.DockerError as error:
        lower = error.message.lower()
        if (error.status == 404 and "no such container" in lower) or "marked for removal" in lower:
            return None
        if on.networks.was_lost(run.network, error.message):
            return None
        refused = limits.is_refused_ulimit(error.message)
        if not await _discard(engine, identifier):
            return await _when_started(on, run.handle)
        if refused:
            log.warning("node.limits_refused", node=engine.name, reason=client.words(error.message))
            # Other starts with the same value have found it too.
            on.rung = min(max(on.rung, rung + 1), len(limits.ULIMITS) - 1)
            return None  # create it again with lower limits
        raise start_errors.start(engine.name, run, error.status, error.message) from error
    if status == 304:  # somebody else started it between our two calls
        return await _when_started(on, run.handle)
    return clock.now()


async def _when_started(on: host.Host, handle: types.Handle) -> float | None:
    container = await _taken(on, handle)
    return _started_at(on, container) if container else None


async def _discard(engine: client.Engine, identifier: str) -> bool:
    """
    Remove a container that could not be started. Return False where it runs: without `force` the engine refuses then, so
    a second scheduler that succeeded with the same container is not harmed.
    """
    try:
        await engine.call("DELETE", f"containers/{identifier}", params={"v": "1"})
    except aiodocker.DockerError as error:
        if error.status == 409 and "running" in error.message.lower():
            return False
        if error.status not in (404, 409):
            raise errors.NodeUnavailable(engine.name, client.words(error.message)) from error
    return True


def _started_at(on: host.Host, container: dict[str, Any]) -> float:
    return observe.timestamp(container["State"].get("StartedAt"), ahead=on.skew.ahead) or clock.now()
