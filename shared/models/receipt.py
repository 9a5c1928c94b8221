"""What a request with an `Idempotency-Key` was answered, as it is stored, and the key that leads to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import Field

from shared.models.stored import Stored


class Receipt(Stored):
    """Written in one transaction with the tasks that the request brought."""

    id: str = Field(alias="_id")
    body: str  #: a hash of what the request said
    ids: list[int]
    at: datetime  #: a date, as the index wants one that lets it go after a day


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a request is called by `user`, who sends it, and a hash of what it says."""

    user: str
    key: str
    body: str

    @property
    def receipt_id(self) -> str:
        """Of one length, whatever the key, and never another user's: no user's id has a colon in it."""
        return f"{self.user}:{hashlib.sha256(self.key.encode()).hexdigest()}"

    def receipt(self, ids: Sequence[int], *, now: float) -> Receipt:
        return Receipt(id=self.receipt_id, body=self.body, ids=list(ids), at=datetime.fromtimestamp(now, UTC))
