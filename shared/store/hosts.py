"""The collection `hosts`: Docker hosts that were added at run time, beside the configured ones."""

from __future__ import annotations

from typing import Any

from pymongo import WriteConcern
from pymongo import errors as driver_errors

from shared import errors
from shared.settings import Node
from shared.store import connection, reading


class HostStore:
    """
    Added hosts, one document each: settings, who added it and when. Certificates are stored as paths on the services'
    hosts, so the database holds no secret.
    """

    def __init__(self, database: connection.Database) -> None:
        majority = WriteConcern(w="majority", j=True)
        self._hosts = database["hosts"].with_options(write_concern=majority)

    @connection.translated
    async def add(self, node: Node, *, by: str, at: float) -> None:
        """Store a host. Raises `errors.Conflict` if one of that name was added before."""
        document = {"_id": node.name, "node": node.model_dump(mode="json", exclude_none=True), "by": by, "at": at}
        try:
            await self._hosts.insert_one(document)
        except driver_errors.DuplicateKeyError:
            raise errors.Conflict(f"there is a node {node.name} already") from None

    @connection.translated
    async def remove(self, name: str) -> bool:
        """Remove a host. Return False if there is none of that name."""
        return (await self._hosts.delete_one({"_id": name})).deleted_count == 1

    @connection.translated
    async def list(self) -> list[Node]:
        return await reading.each(_node, self._hosts.find().sort("_id", 1), of="hosts")


def _node(document: dict[str, Any]) -> Node:
    known = {name: value for name, value in document["node"].items() if name in Node.model_fields}
    return Node.model_validate(known)
