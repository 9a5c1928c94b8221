"""Decide the identity of a database that was restored or copied: it has one living system at most."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from godocker.database import backups
from godocker.local.embedded import own_mongod
from shared import clock, errors
from shared.models.identity import Identity, new_mark
from shared.settings import Settings
from shared.storage import marks
from shared.store import connection
from shared.store.system.identities import IdentityStore


@dataclass(frozen=True, slots=True)
class Decision:
    """`identity`: None for the one that the first service makes. `writes_mark`: `shared_dir` gets its mark, whatever it has."""

    identity: Identity | None
    reason: str
    writes_mark: bool = False


def after_restore(
    backed_up: Identity | None, before: Identity | None, found: str | None, *, keep: bool, now: float
) -> Decision:
    """
    The identity that a restored database gets. `backed_up` is that of the backup, `before` what the database had until then,
    `found` the mark of `shared_dir`, by which it is known which system this is; `keep`: the operator says that it is the one
    that was backed up.
    """
    if keep and backed_up is not None:
        kept = backed_up.model_copy(update={"restored": True})
        return Decision(
            kept, "it keeps its identity, as asked for: what runs on the nodes is adopted", writes_mark=True
        )
    if backed_up is not None and found == backed_up.mark:
        kept = backed_up.model_copy(update={"restored": True})
        return Decision(
            kept, "shared_dir is the system's own: it keeps its identity, and what runs on the nodes is adopted"
        )
    if before is not None and found == before.mark:
        own = before.model_copy(
            update={"copy_of": backed_up.mark if backed_up else None, "restored": True, "has_shared_dir": True}
        )
        return Decision(own, "shared_dir is another system's: the copy has that one's identity, and adopts nothing")
    if backed_up is None:
        return Decision(None, "the backup is of a version without identities: the first service that starts makes one")
    if found is not None:
        return Decision(
            backed_up, f"shared_dir is that of the system {found}: no service will start before it is another one"
        )
    copy = Identity(mark=new_mark(), at=now, copy_of=backed_up.mark, restored=True)
    return Decision(
        copy,
        "shared_dir has no mark of the system that was backed up: this is a copy with an identity of its own, and adopts "
        "nothing. If that system is lost with its shared_dir, restore with --keep-identity",
    )


async def settle_restored(
    database: connection.Database, settings: Settings, before: Identity | None, *, keep: bool
) -> str:
    """Give a database that was just loaded its identity. Returns why it has that one."""
    store = IdentityStore(database, earlier=settings.instance)
    found = await asyncio.to_thread(_mark_of, settings)
    decision = after_restore(await store.get(), before, found, keep=keep, now=clock.now())
    if decision.identity is not None:
        await store.put(decision.identity)
        if decision.writes_mark:
            settings.shared_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
            await asyncio.to_thread(marks.write, settings.shared_dir, decision.identity.mark, force=True)
            await store.note_shared_dir()
    return decision.reason


def show(settings: Settings) -> Identity | None:
    """The identity of the system."""

    async def ask() -> Identity | None:
        async with connection.database(settings) as database:
            return await IdentityStore(database, earlier=settings.instance).get()

    with own_mongod.database(settings):
        return asyncio.run(ask())


def renew(settings: Settings) -> Identity:
    """Make a copied database that of a system of its own. Raises `errors.BackupFailed` while services are connected."""

    async def work(store: IdentityStore) -> Identity:
        return await store.renew()

    return _alone(settings, work)


def keep(settings: Settings) -> Identity:
    """Mark `shared_dir` as that of this database's system. Raises `errors.BackupFailed` and `errors.ConfigurationError`."""

    async def work(store: IdentityStore) -> Identity:
        identity = await store.ensure()
        if (found := _mark_of(settings)) not in (None, identity.mark):
            raise errors.ConfigurationError(f"shared_dir {settings.shared_dir} is that of the system {found}")
        settings.shared_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        marks.write(settings.shared_dir, identity.mark)
        await store.note_shared_dir()
        return identity

    return _alone(settings, work)


def _alone(settings: Settings, work: backups.Work) -> Identity:
    async def run() -> Identity:
        async with connection.database(settings, appname="godocker-identity") as database:
            await backups.wait_until_alone(settings, database)
            return await work(IdentityStore(database, earlier=settings.instance))

    with own_mongod.database(settings):
        return asyncio.run(run())


def _mark_of(settings: Settings) -> str | None:
    try:
        return marks.read(settings.shared_dir)
    except OSError as error:
        raise errors.BackupFailed(f"shared_dir {settings.shared_dir} cannot be read: {error.strerror}") from None
