"""Identity of a restored or copied database: at most one running system has it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from godocker.database import backups
from godocker.local.embedded import own_mongod
from shared import clock, errors
from shared.models.system.identity import Identity, new_mark
from shared.settings import Settings
from shared.storage import marks
from shared.store import connection
from shared.store.system.identities import IdentityStore


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice of identity. None: the first service creates one. `writes_mark`: overwrite the mark of `shared_dir`."""

    identity: Identity | None
    reason: str
    writes_mark: bool = False


def after_restore(
    backed_up: Identity | None, before: Identity | None, mark: str | None, *, keep: bool, now: float
) -> Decision:
    """
    Choose the identity of a restored database. `backed_up` is that of the backup, `before` that of the database until now,
    `mark` that of `shared_dir`, which tells the system. With `keep`, the operator declares this the backed-up system.
    """
    if keep and backed_up is not None:
        own = backed_up.model_copy(update={"restored": True})
        return Decision(own, "kept as requested; running tasks are adopted", writes_mark=True)
    if backed_up is not None and mark == backed_up.mark:
        own = backed_up.model_copy(update={"restored": True})
        return Decision(own, "kept, because shared_dir belongs to this system; running tasks are adopted")
    if before is not None and mark == before.mark:
        own = before.model_copy(
            update={"copy_of": backed_up.mark if backed_up else None, "restored": True, "has_shared_dir": True}
        )
        return Decision(
            own,
            "that of this database before the restore, because shared_dir belongs to it; no running tasks are adopted",
        )
    if backed_up is None:
        return Decision(
            None,
            "none, because the backup is from a version without identities; the first service that starts creates one",
        )
    if mark is not None:
        return Decision(
            backed_up,
            f"that of the backup, but shared_dir belongs to system {mark}: services refuse to start until you change shared_dir",
        )
    copy = Identity(mark=new_mark(), at=now, copy_of=backed_up.mark, restored=True)
    return Decision(
        copy,
        "new, because shared_dir has no mark of the backed-up system: this is a copy, and no running tasks are adopted. If "
        "that system was lost with its shared_dir, restore with --keep-identity",
    )


async def settle_restored(
    database: connection.Database, settings: Settings, before: Identity | None, *, keep: bool
) -> str:
    """Store the identity of a database that was just loaded, and return the reason for the choice."""
    store = IdentityStore(database, earlier=settings.instance)
    mark = await asyncio.to_thread(_mark_of, settings)
    decision = after_restore(await store.get(), before, mark, keep=keep, now=clock.now())
    if decision.identity is not None:
        await store.put(decision.identity)
        if decision.writes_mark:
            settings.shared_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
            await asyncio.to_thread(marks.write, settings.shared_dir, decision.identity.mark, force=True)
            await store.note_shared_dir()
    return decision.reason


def show(settings: Settings) -> Identity | None:
    """Return the identity of the system; None if no service has created one yet."""

    async def ask() -> Identity | None:
        async with connection.database(settings) as database:
            return await IdentityStore(database, earlier=settings.instance).get()

    with own_mongod.database(settings):
        return asyncio.run(ask())


def renew(settings: Settings) -> Identity:
    """Give a copied database a new identity. Raises `errors.BackupFailed` while services are connected."""

    async def work(store: IdentityStore) -> Identity:
        return await store.renew()

    return _alone(settings, work)


def keep(settings: Settings) -> Identity:
    """Mark `shared_dir` as belonging to this system. Raises `errors.BackupFailed` and `errors.ConfigurationError`."""

    async def work(store: IdentityStore) -> Identity:
        identity = await store.ensure()
        if (mark := _mark_of(settings)) not in (None, identity.mark):
            raise errors.ConfigurationError(f"shared_dir {settings.shared_dir} belongs to system {mark}")
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
