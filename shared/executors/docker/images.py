"""The images of a node: check for one, pull a missing one."""

from __future__ import annotations

import asyncio
import functools
import re

import aiodocker
import structlog

from shared import errors
from shared.executors.docker import body, client

log = structlog.get_logger(__name__)

# The grammar of distribution/reference, without its length rules for each part.
_REFERENCE = re.compile(
    r"^[A-Za-z0-9]+(?:(?:[._]|__|-+)[A-Za-z0-9]+)*(?::\d{1,5})?"
    r"(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$"
)
_REFERENCE_LENGTH = 512

#: Seconds until the next request to a registry that was throttling. The engine does not pass on the registry's own value.
THROTTLED_PAUSE = 60.0


class Images:
    """The images of one node."""

    def __init__(self, engine: client.Engine, *, pull_timeout: float) -> None:
        self._engine = engine
        self._pull_timeout = pull_timeout
        self._present: set[str] = set()
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, int] = {}

    async def ensure(self, image: str) -> None:
        """
        Return when the node has the image. Raises `errors.ImageNotFound`, `errors.ImageNotAllowed`,
        `errors.ImageUnreachable`, `errors.ImageThrottled`, `errors.NodeFull`, `errors.NodeUnavailable`.
        """
        check_reference(image)
        name = body.reference(image)
        if name in self._present:
            return
        if not await self._is_there(name):
            await self._pull_with_others(name)
        self._present.add(name)

    def forget(self, image: str) -> None:
        """Forget an image that the engine turned out not to have: somebody removed it."""
        self._present.discard(body.reference(image))

    async def close(self) -> None:
        pulls = list(self._pulls.values())
        for pull in pulls:
            pull.cancel()
        if pulls:
            await asyncio.wait(pulls, timeout=client.CONNECT_TIMEOUT)

    async def _is_there(self, name: str) -> bool:
        try:
            await self._engine.call("GET", f"images/{name}/json")
        except aiodocker.DockerError as error:
            if error.status == 404:
                return False
            if error.status < 500:
                raise pull_error(name, error.status, error.message) from error
            raise errors.NodeUnavailable(self._engine.name, client.words(error.message)) from error
        return True

    async def _pull_with_others(self, name: str) -> None:
        """Pull, or join the running pull. It is cancelled when its last waiter is."""
        pull = self._pulls.get(name)
        if pull is None:
            pull = asyncio.create_task(self._pull(name), name=f"pull {name} on {self._engine.name}")
            self._pulls[name] = pull
            pull.add_done_callback(functools.partial(self._forget_pull, name))
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            await asyncio.wait({pull})
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]
                pull.cancel()
                # At once: the next caller must not join a pull that is being cancelled.
                self._forget_pull(name, pull)
        if pull.cancelled():
            raise errors.NodeUnavailable(self._engine.name, f"the pull of {name} was given up")
        pull.result()

    def _forget_pull(self, name: str, pull: asyncio.Task[None]) -> None:
        if self._pulls.get(name) is pull:
            del self._pulls[name]
        if pull.done() and not pull.cancelled():
            pull.exception()  # retrieved, so that asyncio does not report it as lost

    async def _pull(self, name: str) -> None:
        log.info("image.pull", node=self._engine.name, image=name)
        last = "the registry gave no reason"
        try:
            # A total bound: a registry that sends a byte now and then never hits a read timeout.
            async with (
                asyncio.timeout(self._pull_timeout),
                self._engine.stream(
                    "POST", "images/create", params={"fromImage": name}, total=None, silence=None
                ) as lines,
            ):
                async for line in lines:
                    if problem := line.get("error"):
                        raise pull_error(name, 0, str(problem))
                    last = f"the last was: {client.words(str(line.get('status', '')))}"
        except TimeoutError:
            raise errors.ImageUnreachable(f"{name} could not be pulled in {self._pull_timeout:g} s; {last}") from None
        except aiodocker.DockerError as error:
            raise pull_error(name, error.status, error.message) from error
        log.info("image.pulled", node=self._engine.name, image=name)


def check_reference(image: str) -> None:
    """Raise `errors.ImageNotFound` for a text that cannot name an image: it must not get into a URL."""
    if len(image) > _REFERENCE_LENGTH or not _REFERENCE.match(image):
        raise errors.ImageNotFound(f"{client.words(image)[:80]} is not the name of an image")


def pull_error(name: str, status: int, message: str) -> errors.StartFailed:
    """
    Return the error of a failed pull by the engine's message: its status is 500 for most failures, and there is none after the
    first line of output.
    """
    text = client.words(message)
    lower = message.lower()
    if "no space left" in lower:
        return errors.NodeFull(f"{name} could not be stored: {text}")
    if status == 429 or any(word in lower for word in ("toomanyrequests", "too many requests", "rate limit")):
        return errors.ImageThrottled(f"{name}: {text}", retry_after=THROTTLED_PAUSE)
    # Engines say "repository does not exist or may require 'docker login'" for both; the more frequent cause counts.
    missing = (
        "does not exist",
        "manifest unknown",
        "not found",
        "no matching manifest",
        "name unknown",
        "no such image",
    )
    if status == 404 or any(word in lower for word in (*missing, "invalid reference")):
        return errors.ImageNotFound(f"{name}: {text}")
    if status in (401, 403) or any(word in lower for word in ("unauthorized", "denied", "forbidden", "no basic auth")):
        return errors.ImageNotAllowed(f"{name}: {text}")
    return errors.ImageUnreachable(f"{name}: {text}")
