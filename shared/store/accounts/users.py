"""The collection `users`, and the counter of their numbers."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument, WriteConcern
from pymongo import errors as driver_errors

from shared import errors
from shared.models.user import ApiKeyHash, User
from shared.store import connection, reading, transactions


class UserStore:
    """Users and their credentials."""

    def __init__(self, database: connection.Database) -> None:
        self._database = database
        self._users = database["users"]
        self._counters = database["counters"]
        self._unsafe = database["users"].with_options(write_concern=WriteConcern(w=1, j=False))

    @connection.translated
    async def add(self, user: User) -> None:
        """Store a user. Raises `errors.Conflict` if the id is taken."""
        try:
            await self._users.insert_one(user.model_dump(by_alias=True))
        except driver_errors.DuplicateKeyError:
            raise errors.Conflict(f"the user {user.id} exists already") from None

    @connection.translated
    async def add_with_own_uid(self, user: User) -> str | None:
        """
        Add a user whose uid nobody else has. If somebody has it, return their id and add nobody. Raises `errors.Conflict` if the
        id is taken.
        """

        async def transaction(session: Any) -> str | None:
            # Two transactions do not see each other's user. Both change this document, so the later one starts again.
            await self._counters.update_one({"_id": "uid_gate"}, {"$inc": {"value": 1}}, upsert=True, session=session)
            others = {"uid": {"$eq": user.uid}, "_id": {"$ne": user.id}}
            if (other := await self._users.find_one(others, {"_id": 1}, session=session)) is not None:
                return str(other["_id"])
            await self._users.insert_one(user.model_dump(by_alias=True), session=session)
            return None

        try:
            return await transactions.run(self._database, transaction)
        except driver_errors.DuplicateKeyError:
            raise errors.Conflict(f"the user {user.id} exists already") from None

    @connection.translated
    async def get(self, user_id: str) -> User | None:
        document = await self._users.find_one({"_id": {"$eq": user_id}})
        return reading.one(User.model_validate, document, of="users")

    @connection.translated
    async def get_many(self, ids: Sequence[str]) -> list[User | None]:
        """Return the users of `ids` in their order, None for missing ones."""
        cursor = self._users.find({"_id": {"$in": list(set(ids))}})
        found = {user.id: user for user in await reading.each(User.model_validate, cursor, of="users")}
        return [found.get(user_id) for user_id in ids]

    @connection.translated
    async def shut_out_among(self, ids: Collection[str]) -> builtins.list[User]:
        """Return the users of `ids` that are disabled or being deleted."""
        query = {"_id": {"$in": sorted(ids)}, "$or": [{"active": {"$eq": False}}, {"deleting": {"$eq": True}}]}
        return [User.model_validate(document) async for document in self._users.find(query)]

    @connection.translated
    async def list(self) -> list[User]:
        return await reading.each(User.model_validate, self._users.find().sort("_id", 1), of="users")

    @connection.translated
    async def reserve_uid(self, start: int, *, unusable: Collection[int] = ()) -> int:
        """
        Return a new uid: at least `start`, and above all in use from there on.

        It is given to nobody else, neither concurrently nor after its user was deleted, whose files may still exist.
        `unusable` uids are skipped, and users who have one do not count.
        """
        in_use = {"uid": {"$gte": start, "$nin": list(unusable)}}
        highest = await self._users.find_one(in_use, {"uid": 1}, sort=[("uid", -1)])
        least = int(highest["uid"]) + 1 if highest else start
        counted = await self._counters.find_one_and_update(
            {"_id": "uid"},
            [{"$set": {"value": {"$max": [{"$add": ["$value", 1]}, least]}}}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return int(counted["value"])

    @connection.translated
    async def of_uid(self, uid: int) -> str | None:
        """Return a user with this uid, or None."""
        found = await self._users.find_one({"uid": {"$eq": uid}}, {"_id": 1})
        return str(found["_id"]) if found else None

    @connection.translated
    async def set_apikey(self, user_id: str, key: ApiKeyHash) -> bool:
        """Replace the user's key; the old one is invalid at once. Return False if there is no such user."""
        result = await self._users.update_one({"_id": {"$eq": user_id}}, {"$set": {"apikey": key.model_dump()}})
        return result.matched_count == 1

    @connection.translated
    async def change(self, user_id: str, fields: Mapping[str, Any]) -> User | None:
        """
        Set `fields` (dotted names of the model's) and return the changed user; None if there is none, or it is being
        deleted.
        """
        update: dict[str, Any] = {"$set": dict(fields)}
        if fields.get("active") is False:
            update["$inc"] = {"shut_outs": 1}  # in the same write, so that no earlier session is valid in between
        document = await self._users.find_one_and_update(
            {"_id": {"$eq": user_id}, "deleting": {"$ne": True}},
            update,
            return_document=ReturnDocument.AFTER,
        )
        return reading.one(User.model_validate, document, of="users")

    @connection.translated
    async def inactive(self) -> Sequence[str]:
        """Return the ids of users that are disabled or being deleted."""
        return [found["_id"] async for found in self._users.find({"active": False}, {"_id": 1})]

    @connection.translated
    async def note_login(self, user_id: str, *, at: float) -> None:
        """Record the time of a login. Not durable: losing it loses a time stamp."""
        await self._unsafe.update_one({"_id": {"$eq": user_id}}, {"$max": {"last": at}})

    @connection.translated
    async def shut_out(self, user_id: str) -> None:
        """Disable a user for good before the deletion."""
        await self._users.update_one({"_id": {"$eq": user_id}}, {"$set": {"active": False, "deleting": True}})

    @connection.translated
    async def remove(self, user_id: str) -> None:
        """Remove a user who is being deleted. Idempotent; other users stay."""
        await self._users.delete_one({"_id": {"$eq": user_id}, "deleting": True})
