"""Run one process of the files service."""

from __future__ import annotations

import asyncio
import os

from services.files import app, context, disk_usage
from shared import errors, settings
from shared.config import live, loading
from shared.http import serving
from shared.observe import logs
from shared.runtime import lifetime


def run(configured: settings.Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    logs.configure("files", level=configured.log_level)
    settings.check_secrets(configured)
    lifetime.run(serve(configured))


async def serve(configured: settings.Settings) -> None:
    stop = asyncio.Event()
    lifetime.stop_on_signals(stop)
    live.listen(configured, stop)
    service = context.build(configured)

    def check_shared_dir() -> None:
        configured.shared_dir.mkdir(parents=True, exist_ok=True)
        if not os.access(configured.shared_dir, os.R_OK | os.W_OK | os.X_OK):
            raise errors.StorageError(f"{configured.shared_dir} cannot be read and written")

    async def shared_dir() -> None:
        await service.threads.lookup(check_shared_dir)

    application = app.build(service, {"shared_dir": shared_dir})

    async def http(stop: asyncio.Event) -> None:
        await serving.serve(application, stop, host=configured.internal_host, port=configured.files_port)

    async def watch_disk_usage(stop: asyncio.Event) -> None:
        await disk_usage.watch(stop, configured.shared_dir, service.threads)

    try:
        await lifetime.run_loops(
            {"http": http, "removal": service.remover.run, "disk_usage": watch_disk_usage}, stop=stop
        )
    finally:
        service.threads.close()


if __name__ == "__main__":
    run(loading.load())
