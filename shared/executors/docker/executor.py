"""The executor that runs tasks in containers of any number of Docker Engines."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import aiodocker
import orjson
import structlog

from shared import clock, errors, settings
from shared.executors import types
from shared.executors.docker import client, endings, events, host, images, launch, observe, twins
from shared.executors.docker.inside import limits, program
from shared.units.sizes import GB

log = structlog.get_logger(__name__)

REPORT_TIMEOUT = 5.0  #: seconds an engine has to report its capacity: one sick engine must not delay the reports of all
STOP_AGAIN = 0.5  #: seconds until the stop signal is sent again, doubled each time
INSPECTS = 8  #: concurrent inspections of ended containers

_FEATURES = frozenset(
    {
        types.Feature.ISOLATION,
        types.Feature.IMAGES,
        types.Feature.VOLUMES,
        types.Feature.NETWORK,
        types.Feature.PAUSE,
        types.Feature.ROOT,
        types.Feature.LIMITS,
        types.Feature.GPUS,
        types.Feature.PORTS,
        types.Feature.NETWORKS,
        types.Feature.TMPSTORAGE,
        types.Feature.HOSTS,
    }
)


class _Looks:
    """Inspections of ended containers within one list. After the first timeout no more are begun: each may take as long."""

    def __init__(self) -> None:
        self.limit = asyncio.Semaphore(INSPECTS)
        self.are_in_vain = False


class DockerExecutor:
    """A `base.Executor` on Docker Engines."""

    name = "docker"

    def __init__(self, config: settings.Settings, owner: types.Owner | None = None) -> None:
        """`owner`: None for the configured instance, as in versions without marks."""
        self._config = config
        self._owner = owner or types.Owner(config.instance)
        self._hosts = {node.name: host.Host(node, config, self._owner) for node in config.docker_nodes}
        self._twins = twins.Twins()
        self._identifiers: dict[str, str] = {}  #: the ID that the engine of each node reports
        for node in config.docker_nodes:
            client.tls_context(
                node
            )  # report wrong configuration at the start; nodes added later are reported as not ready

    @property
    def owner(self) -> types.Owner:
        return self._owner

    def features(self) -> frozenset[types.Feature]:
        return _FEATURES

    async def set_nodes(self, nodes: Sequence[settings.Node]) -> None:
        before, self._hosts = self._hosts, {}
        for node in nodes:
            known = before.get(node.name)
            if known is not None and known.is_reached_as(node):
                known.node = node
                self._hosts[node.name] = before.pop(node.name)
            else:
                self._hosts[node.name] = host.Host(node, self._config, self._owner)
        for gone in before.values():
            await gone.close()

    def node_names(self) -> Sequence[str]:
        return list(self._hosts)

    async def nodes(self) -> Sequence[types.NodeReport]:
        hosts = list(self._hosts.values())
        reports = await asyncio.gather(*(self._report(one.node) for one in hosts))
        answering = {report.name for report in reports if report.ready}
        same = await self._twins.find([one for one in hosts if one.node.name in answering], self._identifiers)
        return [
            replace(report, ready=False, reason=twins.reason(same[report.name])) if report.name in same else report
            for report in reports
        ]

    async def prepare(self, run: types.Run) -> None:
        on = self._host(run.handle.node)
        await on.images.ensure(run.image)
        # Facts about both that a start needs are read here, so that the start itself takes two calls.
        await on.has()
        await on.accounts.identify(run.image)

    async def start(self, run: types.Run) -> float:
        images.check_reference(run.image)
        return await launch.start(self._host(run.handle.node), run, self._config)

    async def booted(self, node: str) -> types.Boot | None:
        # An engine does not report when it was started. It recreates its bridge when it starts without running containers,
        # and keeps it where containers ran on without it (live-restore).
        try:
            async with self._engine(node).afresh() as engine:
                _, bridge = await engine.call("GET", "networks/bridge")
                info = await self._info(self._host(node), engine)
        except aiodocker.DockerError as error:
            if error.status == 404:
                return None  # it has none
            raise errors.NodeUnavailable(node, client.words(error.message)) from error
        ahead = self._host(node).skew.ahead
        at, now = (observe.timestamp(told, ahead=ahead) for told in (bridge.get("Created"), info.get("SystemTime")))
        return types.Boot(at, max(0.0, now - at)) if at is not None and now is not None else None

    async def list(self, node: str) -> Sequence[types.Observation]:
        on = self._host(node)
        filters = orjson.dumps({"label": [observe.label_of(self._owner)]}).decode()
        listed = await self._ask(node, "GET", "containers/json", {"all": "1", "filters": filters})
        ours = [item for item in listed if observe.owned(item, node=node, owner=on.owner, root=on.root)]
        await self._measure_skew(on)
        on.forget_all_but(ours)
        looks = _Looks()
        seen = await asyncio.gather(*(self._observe(on, item, looks) for item in ours))
        await on.sweep(ours)
        return [observation for observation in seen if observation is not None]

    async def inspect(self, handle: types.Handle) -> types.Observation | None:
        container = await self._find(handle)
        return observe.inspected(handle, container, ahead=self._host(handle.node).skew.ahead) if container else None

    async def events(self, node: str) -> AsyncIterator[types.Event]:
        # A stream ends with its engine, when the node is configured differently or removed.
        while on := self._hosts.get(node):
            await self._measure_skew(on)
            async for event in events.watch(on.engine, owner=on.owner, root=on.root, seen=on.known, skew=on.skew):
                yield event
        await asyncio.Event().wait()

    async def circumstances(self, handle: types.Handle, *, image: bool) -> types.Circumstances:
        on = self._host(handle.node)
        identifier = on.known.of(handle)
        if identifier is None:
            container = await self._find(handle)
            if container is None:
                return types.Circumstances()
            identifier = container["Id"]
        try:
            return await endings.circumstances(on.engine, identifier, image=image, ahead=on.skew.ahead)
        except aiodocker.DockerError as error:
            raise errors.NodeUnavailable(handle.node, client.words(error.message)) from error

    async def stop(self, handle: types.Handle, *, grace: float) -> None:
        # By id: the name could belong to another container by now. One that was seen as ours needs no check before.
        identifier = self._host(handle.node).known.of(handle)
        if identifier is None or not await self._end(handle.node, identifier, grace):
            container = await self._find(handle)
            if container is None or not container["State"]["Running"]:
                return
            await self._end(handle.node, container["Id"], grace)
        after = await self._find(handle)
        if after is not None and after["State"]["Running"]:
            raise errors.NodeUnavailable(handle.node, f"{handle.name} still runs after it was killed")

    async def pause(self, handle: types.Handle) -> None:
        await self._freeze(handle, "pause", types.RunState.RUNNING)

    async def resume(self, handle: types.Handle) -> None:
        await self._freeze(handle, "unpause", types.RunState.PAUSED)

    async def remove(self, handle: types.Handle) -> None:
        # One that was seen as ours needs no second check: its id can be no other's.
        identifier = self._host(handle.node).known.take(handle)
        if identifier is not None and await self._delete(handle.node, identifier):
            return
        if container := await self._find(handle):
            await self._delete(handle.node, container["Id"])

    async def stats(self, handle: types.Handle) -> types.Stats | None:
        container = await self._find(handle)
        if container is None or not container["State"]["Running"]:
            return None
        path = f"containers/{container['Id']}/stats"
        sample = await self._ask(handle.node, "GET", path, {"stream": "0", "one-shot": "1"}, gone_is_fine=True)
        if not sample or not sample.get("cpu_stats", {}).get("cpu_usage"):
            return None
        now, used = clock.now(), observe.cpu_seconds(sample)
        # A rate needs two samples: it is taken since the last one, at first since the start.
        on = self._host(handle.node)
        begun = (observe.timestamp(container["State"]["StartedAt"], ahead=on.skew.ahead) or now, 0.0)
        samples = on.samples
        since, before = samples.get(container["Id"], begun)
        samples[container["Id"]] = (now, used)
        percent = 100.0 * (used - before) / (now - since) if now > since else 0.0
        return observe.stats(sample, at=now, cpu_percent=max(0.0, percent))

    async def close(self) -> None:
        for one in self._hosts.values():
            await one.close()

    async def _report(self, node: settings.Node) -> types.NodeReport:
        memory = round(node.memory * GB) if node.memory is not None else None
        try:
            on = self._host(node.name)
            info = await self._info(on, on.engine, timeout=REPORT_TIMEOUT)
            on.tell_of_overcommitment()
            self._identifiers[node.name] = str(info.get("ID") or "")
            return observe.report(
                info,
                name=node.name,
                labels=node.labels,
                cpus=node.cpus,
                memory=memory,
                configured_gpus=node.gpus,
                ahead=on.skew.ahead,
                api=on.engine.api,
            )
        except errors.NodeUnavailable as error:
            return types.NodeReport(
                name=node.name,
                executor=self.name,
                ready=False,
                reason=str(error),
                cpus=node.cpus or 0.0,
                memory=memory or 0,
                gpus=tuple(node.gpus),
                labels=node.labels,
                answered=False,
            )

    async def _info(self, on: host.Host, engine: client.Engine, *, timeout: float | None = None) -> observe.Json:
        """Return the engine's `GET /info`, which has its time too. Raises `errors.NodeUnavailable`."""
        asked_at = clock.now()
        try:
            _, info = await engine.call("GET", "info", timeout=timeout)
        except aiodocker.DockerError as error:
            raise errors.NodeUnavailable(on.node.name, client.words(error.message)) from error
        answered_at = clock.now()
        on.capacity = limits.capacity(info) or on.capacity
        if theirs := observe.timestamp(info.get("SystemTime")):
            on.skew.note(theirs, asked_at=asked_at, answered_at=answered_at)
        return dict(info)

    async def _measure_skew(self, on: host.Host) -> None:
        """Read the engine's clock if that is due."""
        if not on.skew.is_due:
            return
        on.skew.put_off()  # in any case: it may hang at this call, and must not be waited for each time
        try:
            await self._info(on, on.engine, timeout=REPORT_TIMEOUT)
        except errors.NodeUnavailable as error:
            log.info("node.clock_not_read", node=on.node.name, error=str(error))

    async def _observe(self, on: host.Host, item: observe.Json, looks: _Looks) -> types.Observation | None:
        node = on.node.name
        handle = observe.owned(item, node=node, owner=on.owner, root=on.root)
        if handle is None:
            return None
        on.known.note(handle, item["Id"])
        if observe.state(item["State"]) is not types.RunState.EXITED:
            return types.Observation(handle, observe.state(item["State"]))
        if known := on.ended.get(item["Id"]):
            return known
        async with looks.limit:
            # The engine has answered for the node: one container that it hangs at must not make all others lost. Until it reports
            # how an ended container ended, the container counts as running.
            if looks.are_in_vain:
                return types.Observation(handle, types.RunState.RUNNING)
            try:
                container = await self._ask(node, "GET", f"containers/{item['Id']}/json", gone_is_fine=True)
            except errors.NodeUnavailable as error:
                log.warning("container.not_inspected", run=handle.name, node=node, error=str(error))
                looks.are_in_vain = True
                return types.Observation(handle, types.RunState.RUNNING)
        if not container:
            return None
        observation = observe.inspected(handle, container, ahead=on.skew.ahead)
        if observation.state is types.RunState.EXITED:
            on.ended[item["Id"]] = observation
        return observation

    async def _freeze(self, handle: types.Handle, verb: str, needed: types.RunState) -> None:
        container = await self._find(handle)
        if container is None or observe.state(container["State"]["Status"]) is not needed:
            return
        try:
            await self._engine(handle.node).call("POST", f"containers/{container['Id']}/{verb}")
        except aiodocker.DockerError as error:
            # Somebody else was faster, or it ended: engines use 409 and 500 for that.
            after = await self._find(handle)
            if after is not None and observe.state(after["State"]["Status"]) is needed:
                raise errors.NodeUnavailable(handle.node, client.words(error.message)) from error

    async def _find(self, handle: types.Handle) -> dict[str, Any] | None:
        """Return the container of this run; None where there is none, or only another owner's with this name."""
        container = await self._ask(handle.node, "GET", f"containers/{handle.name}/json", gone_is_fine=True)
        if not container:
            return None
        on = self._host(handle.node)
        if observe.owned(container, node=handle.node, owner=on.owner, root=on.root) != handle:
            return None
        on.known.note(handle, container["Id"])
        return dict(container)

    async def _end(self, node: str, identifier: str, grace: float) -> bool:
        """Have the engine stop the container (TERM, wait, KILL). Return False where no container has this id."""
        seconds = math.ceil(grace)
        path, timeout = f"containers/{identifier}/stop", seconds + self._config.docker_timeout
        again = asyncio.create_task(self._tell_again(node, identifier, grace), name=f"stop {identifier[:12]} again")
        try:
            await self._engine(node).call("POST", path, params={"t": str(seconds)}, timeout=timeout, long=True)
        except aiodocker.DockerError as error:
            if error.status not in (404, 409):
                raise errors.NodeUnavailable(node, client.words(error.message)) from error
            return error.status == 409  # somebody else is removing it
        finally:
            again.cancel()
        return True

    async def _tell_again(self, node: str, identifier: str, grace: float) -> None:
        """
        Repeat the stop signal for a container that began within the last milliseconds: its init, or the wrapper, may not have
        been ready for the first. If it was, it ignores the others.
        """
        pause = STOP_AGAIN
        while pause < grace:
            await asyncio.sleep(pause)
            with contextlib.suppress(aiodocker.DockerError, errors.NodeUnavailable):
                params = {"signal": program.STOP_SIGNAL}
                await self._engine(node).call("POST", f"containers/{identifier}/kill", params=params)
            pause *= 2  # an overloaded host may be slow

    async def _delete(self, node: str, identifier: str) -> bool:
        """Remove a container with all it holds. Return False where none has this id."""
        try:
            await self._engine(node).call("DELETE", f"containers/{identifier}", params={"v": "1", "force": "1"})
        except aiodocker.DockerError as error:
            if error.status not in (404, 409):
                raise errors.NodeUnavailable(node, client.words(error.message)) from error
            return error.status == 409  # somebody else is removing it
        return True

    async def _ask(
        self,
        node: str,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        *,
        timeout: float | None = None,
        gone_is_fine: bool = False,
    ) -> Any:
        """Call the engine. Error answers mean a sick node, except for a container that is gone or being removed."""
        try:
            _, answer = await self._engine(node).call(method, path, params=params, timeout=timeout)
        except aiodocker.DockerError as error:
            if gone_is_fine and error.status in (404, 409):
                return None
            raise errors.NodeUnavailable(node, client.words(error.message)) from error
        return answer

    def _engine(self, node: str) -> client.Engine:
        return self._host(node).engine

    def _host(self, node: str) -> host.Host:
        try:
            return self._hosts[node]
        except KeyError:
            raise errors.NodeUnavailable(node, "it is not configured") from None
