"""The collection `receipts`: answers to requests with an `Idempotency-Key`, kept for a day."""

from __future__ import annotations

from typing import Any

from pymongo import errors as driver_errors
from pymongo.read_concern import ReadConcern

from shared.models.receipt import Receipt
from shared.store import connection

KEEP = 24 * 3600  #: seconds


class ReceiptStore:
    """Answers to repeatable requests."""

    def __init__(self, database: connection.Database) -> None:
        self._receipts = database["receipts"]
        # A receipt that may be rolled back must not be used as an answer.
        self._safe = self._receipts.with_options(read_concern=ReadConcern("majority"))

    @connection.translated
    async def get(self, receipt_id: str) -> Receipt | None:
        """Return the receipt once it is durable on a majority."""
        document = await self._safe.find_one({"_id": {"$eq": receipt_id}})
        return Receipt.model_validate(document) if document else None

    async def add(self, receipt: Receipt, *, session: Any) -> bool:
        """Store the receipt within a transaction. Return False, with the transaction lost, if the key has one already."""
        try:
            await self._receipts.insert_one(receipt.model_dump(by_alias=True), session=session)
        except driver_errors.DuplicateKeyError:
            return False
        return True

    @connection.translated
    async def remove_of(self, user: str) -> None:
        """Remove all receipts of a user."""
        await self._receipts.delete_many({"_id": {"$gte": f"{user}:", "$lt": f"{user};"}})
