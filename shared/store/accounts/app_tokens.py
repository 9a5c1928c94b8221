"""The collection `app_tokens`: tokens of applications."""

from __future__ import annotations

from shared import errors
from shared.models.app_token import AppToken
from shared.store import connection, reading

MOST = 100  #: most tokens of one user


class AppTokenStore:
    """Tokens that users gave to applications."""

    def __init__(self, database: connection.Database) -> None:
        self._tokens = database["app_tokens"]

    @connection.translated
    async def add(self, token: AppToken) -> None:
        """Store a token. Raises `errors.Conflict` if the user has the most tokens allowed."""
        if await self._tokens.count_documents({"user": {"$eq": token.user}}, limit=MOST) >= MOST:
            raise errors.Conflict(f"{token.user} has {MOST} application tokens, the most allowed")
        await self._tokens.insert_one(token.model_dump(by_alias=True))

    @connection.translated
    async def of_user(self, user: str) -> list[AppToken]:
        """Return the tokens of a user, oldest first."""
        cursor = self._tokens.find({"user": {"$eq": user}}).sort("created_at", 1)
        return await reading.each(AppToken.model_validate, cursor, of="app_tokens")

    @connection.translated
    async def count(self, user: str) -> int:
        """Return the number of a user's tokens."""
        return int(await self._tokens.count_documents({"user": {"$eq": user}}))

    @connection.translated
    async def by_hash(self, digest: str) -> AppToken | None:
        document = await self._tokens.find_one({"hash": {"$eq": digest}})
        return reading.one(AppToken.model_validate, document, of="app_tokens")

    @connection.translated
    async def remove(self, user: str, token_id: str) -> bool:
        """Remove one of the user's tokens. Return False if they have none with that id."""
        result = await self._tokens.delete_one({"_id": {"$eq": token_id}, "user": {"$eq": user}})
        return result.deleted_count == 1

    @connection.translated
    async def remove_of(self, user: str) -> None:
        """Remove all tokens of a user."""
        await self._tokens.delete_many({"user": {"$eq": user}})
