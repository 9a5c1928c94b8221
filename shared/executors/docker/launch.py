"""Start one attempt in a container: two calls where nothing stands in the way, and the same container every time."""

from __future__ import annotations

import asyncio
from typing import Any

import aiodocker
import structlog

from shared import clock, errors, settings
from shared.executors import base
from shared.executors.docker import body, client, images, observe

log = structlog.get_logger(__name__)

_PAUSE = 0.1  #: seconds before we look again at a name that is taken by a container that is not there

#: In an error of the engine's own, words that say that it is not well, not that the run is wrong.
_NODE_TROUBLE = (
    *("connection error", "connection refused", "transport is closing", "error while dialing"),
    *("context deadline exceeded", "context canceled", "shutting down"),
)


async def start(engine: client.Engine, stock: images.Images, run: base.Run, config: settings.Settings) -> float:
    """See `base.Executor.start`."""
    deadline = clock.monotonic() + config.start_timeout
    while clock.monotonic() < deadline:
        identifier = await _create(engine, stock, run, config)
        if identifier is None:
            found = await _taken(engine, run.handle, config.instance)
            if found is None:
                # It is being made (the engine reserves the name first) or being removed.
                await asyncio.sleep(_PAUSE)
                continue
            if observe.state(found["State"]["Status"]) is not base.RunState.CREATED:
                log.info("container.adopted", run=run.handle.name, node=engine.name)
                return _started_at(found)
            identifier = found["Id"]
        started = await _start(engine, run, identifier, config)
        if started is not None:
            return started
    raise errors.NodeUnavailable(engine.name, f"container {run.handle.name} is neither there nor gone")


async def _create(engine: client.Engine, stock: images.Images, run: base.Run, config: settings.Settings) -> str | None:
    """The new container's id; None where its name is taken."""
    content = body.create_body(
        run, instance=config.instance, network=config.docker_network or "bridge", pids_limit=config.pids_limit
    )
    for last_try in (False, True):
        try:
            _, created = await engine.call(
                "POST",
                "containers/create",
                params={"name": run.handle.name},
                body=content,
                timeout=config.start_timeout,
            )
            return str(created["Id"])
        except aiodocker.DockerError as error:
            if error.status == 409:
                return None
            if error.status != 404 or last_try:
                raise _refusal(engine, run, error) from error
            # The image was there when we looked, and is no longer.
            stock.forget(run.image)
            await stock.ensure(run.image)
    raise AssertionError("the second try returns or raises")


async def _taken(engine: client.Engine, handle: base.Handle, instance: str) -> dict[str, Any] | None:
    """The container that has the run's name; None where it is gone again. Raises for one that is not this run."""
    try:
        _, found = await engine.call("GET", f"containers/{handle.name}/json")
    except aiodocker.DockerError as error:
        if error.status == 404:
            return None
        raise errors.NodeUnavailable(engine.name, client.words(error.message)) from error
    labels = found["Config"].get("Labels") or {}
    if observe.handle(labels, node=engine.name, instance=instance) != handle:
        owner = labels.get(body.INSTANCE)
        whose = f"the GoDocker instance {owner}" if owner else "somebody else"
        raise errors.StartRefused(f"the name {handle.name} is taken on {engine.name} by a container of {whose}")
    return dict(found)


async def _start(engine: client.Engine, run: base.Run, identifier: str, config: settings.Settings) -> float | None:
    """When it started; None where the container was removed before it could."""
    try:
        status, _ = await engine.call("POST", f"containers/{identifier}/start", timeout=config.start_timeout)
    except aiodocker.DockerError as error:
        if error.status == 404 and "no such container" in error.message.lower():
            return None
        if not await _discard(engine, identifier):
            return await _when_started(engine, run.handle, config.instance)
        raise _refusal(engine, run, error) from error
    if status == 304:  # somebody else started it between our two calls
        return await _when_started(engine, run.handle, config.instance)
    return clock.now()


async def _when_started(engine: client.Engine, handle: base.Handle, instance: str) -> float | None:
    found = await _taken(engine, handle, instance)
    return _started_at(found) if found else None


async def _discard(engine: client.Engine, identifier: str) -> bool:
    """
    Remove a container that could not be started. False where it runs: without `force` the engine refuses then, and
    a second scheduler that had more luck with the same container is not harmed.
    """
    try:
        await engine.call("DELETE", f"containers/{identifier}", params={"v": "1"})
    except aiodocker.DockerError as error:
        if error.status == 409 and "running" in error.message.lower():
            return False
        if error.status not in (404, 409):
            raise errors.NodeUnavailable(engine.name, client.words(error.message)) from error
    return True


def _started_at(found: dict[str, Any]) -> float:
    return observe.timestamp(found["State"].get("StartedAt")) or clock.now()


def _refusal(engine: client.Engine, run: base.Run, error: aiodocker.DockerError) -> errors.GoDockerError:
    said = client.words(error.message)
    lower = said.lower()
    if error.status >= 500 and any(word in lower for word in _NODE_TROUBLE):
        return errors.NodeUnavailable(engine.name, said)
    if "no such image" in lower or "invalid reference" in lower:
        return errors.ImageNotFound(f"{run.image}: {said}")
    if '"/bin/sh"' in lower and "no such file" in lower:
        return errors.StartRefused(f"the image {run.image} has no /bin/sh, which its tasks are started with")
    if "bind source path does not exist" in lower:
        return errors.StartRefused(f"a directory to mount does not exist on the node: {said.rpartition(': ')[2]}")
    return errors.StartRefused(said)
