"""Look where the name of a registry leads, before an engine is sent there on behalf of a stranger."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.api.admission import images
from shared import clock
from shared.settings import Settings

log = structlog.get_logger(__name__)

_KEPT = 60.0  #: seconds that an answer is good for
_MOST_KEPT = 1000
_DEADLINE = 3.0  #: seconds

Resolve = Callable[[str], Awaitable[Sequence[str]]]


async def _addresses(host: str) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Registries:
    """
    Refuses registries whose names lead to addresses inside a network, as `images.problem_of` refuses the addresses themselves.

    An engine asks for the name again when it pulls, and whoever answers may give it another address by then: a registry that must
    not be reached is for the network to close. Where a name is not known here, nothing is known against it: a gateway may have no
    names of the world, and engines that fetch through a proxy or a mirror.
    """

    def __init__(self, settings: Settings, resolve: Resolve = _addresses) -> None:
        self._settings = settings
        self._resolve = resolve
        self._known: dict[str, tuple[float, str | None]] = {}

    async def problem_of(self, reference: str) -> str | None:
        """Why an image may not be fetched from where its name leads, as a sentence; None for one that may."""
        registry = images.registry_in(reference)
        if registry in (None, images.DEFAULT) or self._settings.allowed_registries is not None:
            return None  # it is no reference, or an admin has named the registries that may be used
        if any(reference == image.url for image in self._settings.default_images):
            return None
        return await self._judge(registry)

    async def _judge(self, registry: str) -> str | None:
        now = clock.monotonic()
        until, problem = self._known.get(registry, (0.0, None))
        if now < until:
            return problem
        problem = await self._look(registry)
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[registry] = now + _KEPT, problem
        return problem

    async def _look(self, registry: str) -> str | None:
        host = registry.rpartition(":")[0] or registry
        try:
            async with asyncio.timeout(_DEADLINE):
                found = await self._resolve(host)
        except (OSError, UnicodeError, TimeoutError) as error:  # OSError: socket.gaierror is one
            log.info("registry.not_resolved", registry=registry, error=str(error) or type(error).__name__)
            return None
        internal = [address for address in found if images.is_internal_address(address)]
        return (
            f"comes from registry {registry}, whose name leads to the internal address {internal[0]}"
            if internal
            else None
        )
