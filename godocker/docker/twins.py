"""Detection of two nodes that are one engine, see `shared.executors.docker.twins`."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence

import httpx

from godocker.docker import engine_probe
from shared import errors
from shared.settings import Node


def of(node: Node, others: Sequence[Node]) -> str | None:
    """Return the name of a node among `others` that is the same engine; None if no answering node is."""
    mine = _identifier(node)
    if not mine:
        return None
    return next((other.name for other in others if _identifier(other) == mine and is_same(node, other)), None)


def pairs(nodes: Sequence[Node]) -> list[tuple[str, str]]:
    """Return the names of each pair of nodes that are one engine."""
    identifiers = {node.name: _identifier(node) for node in nodes}
    return [
        (one.name, other.name)
        for one, other in itertools.combinations(nodes, 2)
        if identifiers[one.name] and identifiers[one.name] == identifiers[other.name] and is_same(one, other)
    ]


def is_same(one: Node, other: Node) -> bool:
    """Return whether a volume created on one engine exists on the other. Cloned hosts share only the engine's ID."""
    name = f"godocker-probe-{secrets.token_hex(8)}"
    try:
        with engine_probe.client(one) as first, engine_probe.client(other) as second:
            first.post("/volumes/create", json={"Name": name}).raise_for_status()
            try:
                return second.get(f"/volumes/{name}").status_code == httpx.codes.OK
            finally:
                first.delete(f"/volumes/{name}")
    except (httpx.HTTPError, OSError):
        return False


def _identifier(node: Node) -> str:
    try:
        return str(engine_probe.ask(node, "/info").get("ID") or "")
    except errors.NodeUnavailable:
        return ""
