"""
Find nodes that are one engine under two names: by a second socket, a link, another address. Its cores and memory would be given
out twice.

An engine reports an ID, which its clones share. Two engines with one ID are distinguished by a temporary volume: it is created
on one of them and looked up on the other.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping, Sequence

import aiodocker
import structlog

from shared import errors
from shared.executors.docker import body, host

log = structlog.get_logger(__name__)

TIMEOUT = 5.0  #: seconds for one call


def reason(other: str) -> str:
    """Return why a node that is the same engine as `other` gets no tasks."""
    return (
        f"it is the same engine as node {other}, whose cores and memory would be given out twice: remove one of the two"
    )


class Twins:
    """The known pairs. Each is checked once, until a node's address or ID changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], bool] = {}

    async def find(self, hosts: Sequence[host.Host], ids: Mapping[str, str]) -> dict[str, str]:
        """Return the duplicate nodes, each with the node that is the same engine. `ids`: the engines' IDs."""
        found: dict[str, str] = {}
        keys = set()
        for first, second in itertools.combinations(hosts, 2):
            one, other = first.node.name, second.node.name
            if not ids.get(one) or ids.get(one) != ids.get(other) or one in found or other in found:
                continue
            key = (one, first.node.url, other, second.node.url, ids[one])
            keys.add(key)
            if key not in self._known:
                try:
                    self._known[key] = await _is_same(first, second)
                except (errors.NodeUnavailable, aiodocker.DockerError) as error:
                    log.warning("twins.not_checked", nodes=[one, other], error=str(error))
                    continue
                if self._known[key]:
                    log.error("node.is_another", node=other, other=one)
            if self._known[key]:
                found[other] = one
        self._known = {key: value for key, value in self._known.items() if key in keys}
        return found


async def _is_same(first: host.Host, second: host.Host) -> bool:
    name = f"godocker-probe-{secrets.token_hex(8)}"
    # With our label: a volume that is left by a crash is swept like any unused volume of ours.
    content = {"Name": name, "Labels": {body.INSTANCE: first.owner.mark}}
    await first.engine.call("POST", "volumes/create", body=content, timeout=TIMEOUT)
    try:
        await second.engine.call("GET", f"volumes/{name}", timeout=TIMEOUT)
    except aiodocker.DockerError as error:
        if error.status != 404:
            raise
        return False
    finally:
        await first.engine.call("DELETE", f"volumes/{name}", timeout=TIMEOUT)
    return True
