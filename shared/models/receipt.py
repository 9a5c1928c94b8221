"""The stored answer to a request with an `Idempotency-Key`, and the key that leads to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import Field

from shared.models.stored import Stored


class Receipt(Stored):
    """An answer, written in one transaction with the tasks of its request."""

    id: str = Field(alias="_id")
    body: str  #: hash of the request's body
    ids: list[int]
    at: datetime  #: a date, as the index that expires it requires


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The key that `user` sent, and a hash of the request's body."""

    user: str
    key: str
    body: str

    @property
    def receipt_id(self) -> str:
        """Return an id of fixed length that no other user's key leads to: user ids contain no colon."""
        return f"{self.user}:{hashlib.sha256(self.key.encode()).hexdigest()}"

    def receipt(self, ids: Sequence[int], *, now: float) -> Receipt:
        return Receipt(id=self.receipt_id, body=self.body, ids=list(ids), at=datetime.fromtimestamp(now, UTC))
