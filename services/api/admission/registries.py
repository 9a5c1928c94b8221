"""Resolve the name of a registry before an engine is sent there on behalf of a stranger."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.api.admission import images
from shared import clock
from shared.settings import Settings

log = structlog.get_logger(__name__)

_FRESH = 60.0  #: seconds for which an answer is reused
_MAX_CACHED = 1000
_TIMEOUT = 3.0  #: seconds

Resolve = Callable[[str], Awaitable[Sequence[str]]]


async def _addresses(host: str) -> Sequence[str]:
    resolved = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in resolved]


class Registries:
    """
    Refuses registries whose names resolve to internal addresses, as `images.problem_of` refuses the addresses
    themselves.

    An engine resolves the name again when it pulls, and may then get another address: only the network can close a
    registry off. A name that does not resolve here is accepted: a gateway may have no public name server, and its
    engines may fetch through a proxy or a mirror.
    """

    def __init__(self, settings: Settings, resolve: Resolve = _addresses) -> None:
        self._settings = settings
        self._resolve = resolve
        self._cache: dict[str, tuple[float, str | None]] = {}

    async def problem_of(self, reference: str) -> str | None:
        """Return why an image may not be fetched from its registry, as a sentence; None if it may."""
        registry = images.registry_in(reference)
        if registry in (None, images.DEFAULT) or self._settings.allowed_registries is not None:
            return None  # not a reference, or the configuration names the allowed registries
        if any(reference == image.url for image in self._settings.default_images):
            return None
        return await self._cached(registry)

    async def _cached(self, registry: str) -> str | None:
        now = clock.monotonic()
        until, problem = self._cache.get(registry, (0.0, None))
        if now < until:
            return problem
        problem = await self._check(registry)
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[registry] = now + _FRESH, problem
        return problem

    async def _check(self, registry: str) -> str | None:
        host = registry.rpartition(":")[0] or registry
        try:
            async with asyncio.timeout(_TIMEOUT):
                resolved = await self._resolve(host)
        except (OSError, UnicodeError, TimeoutError) as error:  # socket.gaierror is an OSError
            log.info("registry.not_resolved", registry=registry, error=str(error) or type(error).__name__)
            return None
        internal = [address for address in resolved if images.is_internal_address(address)]
        return (
            f"comes from registry {registry}, which resolves to the internal address {internal[0]}"
            if internal
            else None
        )
