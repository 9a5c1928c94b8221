"""The collections `nodes` and `verdicts`: the scheduler's last view of nodes and of pending tasks, for those who ask."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pymongo import DeleteOne, UpdateOne, WriteConcern

from shared.models.node import Node, StoredReason
from shared.store import connection, reading

_HINT = WriteConcern(w=1, j=False)  # rewritten every few seconds, so a lost write does no harm


class NodeStore:
    """Nodes as the scheduler last saw them."""

    def __init__(self, database: connection.Database) -> None:
        self._nodes = database["nodes"].with_options(write_concern=_HINT)

    @connection.translated
    async def put_many(self, nodes: Sequence[Node]) -> None:
        """Replace all nodes by `nodes`; others are no longer configured and are removed."""
        if nodes:
            operations = [
                UpdateOne({"_id": node.id}, {"$set": node.model_dump(exclude={"id"}, exclude_none=True)}, upsert=True)
                for node in nodes
            ]
            await self._nodes.bulk_write(operations, ordered=False)
            reasonless = [node.id for node in nodes if node.reason is None]
            await self._nodes.update_many({"_id": {"$in": reasonless}}, {"$unset": {"reason": ""}})
        await self._nodes.delete_many({"_id": {"$nin": [node.id for node in nodes]}})

    @connection.translated
    async def note_stuck(self, node: str, count: int) -> None:
        """Record how many killed runs of a node go on."""
        await self._nodes.update_one({"_id": node}, {"$set": {"stuck": count}})

    @connection.translated
    async def list(self) -> list[Node]:
        return await reading.each(Node.model_validate, self._nodes.find().sort("_id", 1), of="nodes")


class PendingReasonStore:
    """Why tasks are pending: one document per shape, however many tasks have it."""

    def __init__(self, database: connection.Database) -> None:
        self._verdicts = database["verdicts"].with_options(write_concern=_HINT)

    @connection.translated
    async def put(self, verdicts: Sequence[StoredReason], *, placed: Collection[str]) -> None:
        """Write reasons, and remove those of shapes that were `placed`."""
        operations: list[UpdateOne | DeleteOne] = [
            UpdateOne({"_id": verdict.id}, {"$set": verdict.model_dump(exclude={"id"})}, upsert=True)
            for verdict in verdicts
        ]
        operations += [DeleteOne({"_id": shape}) for shape in placed]
        if operations:
            await self._verdicts.bulk_write(operations, ordered=False)

    @connection.translated
    async def get_many(self, shapes: Collection[str]) -> dict[str, StoredReason]:
        cursor = self._verdicts.find({"_id": {"$in": list(shapes)}})
        return {
            verdict.id: verdict for verdict in await reading.each(StoredReason.model_validate, cursor, of="verdicts")
        }
