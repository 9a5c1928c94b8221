"""The state that the routes of one process of the files service share, made once at its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from services.files.downloads import Downloads
from services.files.places import Places
from services.files.quotas import Quotas
from services.files.removal import Remover
from services.files.threads import Threads
from services.files.uploads import Uploads
from shared.auth import grants
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of the files service."""

    key: str  #: signs grants
    places: Places
    threads: Threads
    quotas: Quotas
    downloads: Downloads
    uploads: Uploads
    remover: Remover


def build(settings: Settings) -> Context:
    threads, quotas = Threads(), Quotas()
    places = Places(settings.shared_dir)
    return Context(
        key=grants.key(settings.secret_passphrase.get_secret_value()),
        places=places,
        threads=threads,
        quotas=quotas,
        downloads=Downloads(threads, list_limit=settings.files_list_limit),
        uploads=Uploads(places, threads, quotas),
        remover=Remover(places, threads),
    )


async def of(request: Request) -> Context:
    """Return the context of the process that serves `request`."""
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(of)]
