"""Messages of `godocker up` to the operator."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from godocker.admin import accounts
from godocker.local import readiness
from shared import errors
from shared.settings import Settings
from shared.store import stores

_COUNT_TIMEOUT = 2.0  #: seconds; the end must not wait for this number


def print_ready(settings: Settings, data_dir: Path) -> None:
    url = readiness.shown_url(settings.host, settings.port)
    print(f"GoDocker is ready at {url}")
    print(f"  documentation of the Web API: {url}/docs")
    print(f"  data directory: {data_dir} (logs in {data_dir / 'log'})")
    print("  Ctrl-C stops it. Tasks keep running, and the next start adopts them.", flush=True)


def print_first_user(apikey: str) -> None:
    print(f"API key of the user {accounts.ADMIN}, shown only once: {apikey}")
    print('  Exchange it for a token: POST /api/1.0/authenticate {"user": "admin", "apikey": …}', flush=True)


def print_known_user(data_dir: Path) -> None:
    print(
        f"Log in with the API key of the first start. To get a new one: godocker user key {accounts.ADMIN} --data-dir {data_dir}"
    )


def print_left(settings: Settings, data_dir: Path) -> None:
    """Print how many tasks keep running; print nothing if MongoDB does not answer soon."""
    with contextlib.suppress(errors.GoDockerError, TimeoutError):
        if left := asyncio.run(_count(settings)):
            tasks, them = ("1 task keeps", "it") if left == 1 else (f"{left} tasks keep", "them")
            print(f"{tasks} running; the next godocker up --data-dir {data_dir} adopts {them}", flush=True)


async def _count(settings: Settings) -> int:
    async with asyncio.timeout(_COUNT_TIMEOUT), stores.connect(settings) as store:
        return len(await store.work.placed())
