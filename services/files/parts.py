"""What the routes of one process of the files service share, made once at its start."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from services.files.downloads import Downloads
from services.files.places import Places
from services.files.quotas import Quotas
from services.files.removal import Remover
from services.files.threads import Threads
from services.files.uploads import Uploads
from shared.auth import grants
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """`key` is what grants are signed with."""

    key: str
    places: Places
    threads: Threads
    quotas: Quotas
    downloads: Downloads
    uploads: Uploads
    remover: Remover


def build(settings: Settings) -> Parts:
    threads, quotas = Threads(), Quotas()
    places = Places(settings.shared_dir)
    return Parts(
        key=grants.key(settings.secret_passphrase.get_secret_value()),
        places=places,
        threads=threads,
        quotas=quotas,
        downloads=Downloads(threads, list_limit=settings.files_list_limit),
        uploads=Uploads(places, threads, quotas),
        remover=Remover(places, threads),
    )


async def of(request: Request) -> Parts:
    """The parts of the process that serves `request`."""
    parts: Parts = request.app.state.parts
    return parts
