"""
Claims: decide which of several installations with the same identity and `shared_dir`, after a copy of the database, is
live.

The leader writes a new random word every few seconds, first into the database, then into a file of `shared_dir`; a database
keeps its last two. A copy or an old backup does not know the words that its original writes meanwhile: it waits, and while
the word keeps changing, the original lives and the copy does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import structlog

from shared import clock, errors
from shared.runtime import lifetime
from shared.store.system.identities import IdentityStore

log = structlog.get_logger(__name__)

FILE = ".godocker-claim"
BEAT = 2.0  #: seconds between two words
PATIENCE = 5 * BEAT  #: seconds without a new word after which its writer counts as gone
_LENGTH = 33  #: bytes of a word with its newline

LIVES = (
    "another installation with this system's identity uses this shared_dir: one of the two databases is a copy of the other. "
    "This one does nothing until the other is stopped. Give a copy its own shared_dir and identity: godocker identity --new"
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """
    A word that is not in this database, and since when it is seen. `lives`: the word changed, so another installation
    writes it.
    """

    word: str
    since: float
    lives: bool = False


@dataclass(frozen=True, slots=True)
class State:
    held: bool = False
    foreign: Foreign | None = None


def next_state(before: State, word: str | None, known: Collection[str], *, now: float) -> State:
    """Return the new state after reading the word of the file and the words `known` to the database."""
    foreign = before.foreign
    if word is None or word in known:
        return State(held=True)
    if foreign is None:
        # The first check may find a word that our leader wrote since we read the database, or a foreign one: later checks
        # decide.
        return State(before.held, Foreign(word, now))
    if word != foreign.word:
        return State(held=False, foreign=Foreign(word, now, lives=True))
    # No new word: this is the restored database of a lost system. An installation that was seen to write only pauses.
    is_left = not foreign.lives and now - foreign.since >= PATIENCE
    return State(before.held or is_left, foreign)


class Claim:
    """The claim as one service sees it. Check `is_held` before anything is done to a run."""

    def __init__(self, shared_dir: Path, store: IdentityStore, *, now: clock.Clock = clock.monotonic) -> None:
        self._file = shared_dir / FILE
        self._store = store
        self._now = now
        self._state = State()

    @property
    def is_held(self) -> bool:
        return self._state.held

    async def look(self) -> bool:
        """Read file and database and return whether the claim is ours. Failed reads keep the last state."""
        try:
            # In this order: a word is in the database before it is in the file.
            word = await asyncio.to_thread(_read, self._file)
            known = await self._store.words()
        except (OSError, errors.StoreUnavailable) as error:
            log.warning("claim.not_read", error=str(error))
            return self.is_held
        before, self._state = self._state, next_state(self._state, word, known, now=self._now())
        foreign = self._state.foreign
        if foreign and foreign.lives and not (before.foreign and before.foreign.lives):
            log.error("claim.is_foreign", shared_dir=str(self._file.parent), reason=LIVES)
        return self.is_held

    async def beat(self) -> bool:
        """Write a new word if the claim is ours. For the leader."""
        if not await self.look():
            return False
        word = secrets.token_hex(_LENGTH // 2)
        try:
            await self._store.add_word(word)
            await asyncio.to_thread(_write, self._file, word)
        except (OSError, errors.StoreUnavailable) as error:
            log.warning("claim.not_written", error=str(error))
        return True

    async def wait(self, stop: asyncio.Event) -> None:
        """Return once the claim is ours, usually at once, or `stop` is set."""
        async for _ in lifetime.every(stop, BEAT / 2):
            if await self.look():
                return


def _read(file: Path) -> str | None:
    # Opened each time: with NFS, only that shows other hosts' writes.
    with contextlib.suppress(FileNotFoundError):
        word = file.read_bytes()[:_LENGTH]
        return word[:-1].decode(errors="replace") if len(word) == _LENGTH else None
    return None


def _write(file: Path, word: str) -> None:
    # Written in place, at constant length: other hosts would keep seeing a replaced file until their caches expire.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.pwrite(descriptor, f"{word}\n".encode(), 0)
    finally:
        os.close(descriptor)
