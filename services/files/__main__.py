"""Run one process of the files service."""

from __future__ import annotations

import asyncio
import os

from shared import errors, lifetime, logs, serving, settings


def run(configured: settings.Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    logs.configure("files", level=configured.log_level)
    lifetime.run(serve(configured))


async def serve(configured: settings.Settings) -> None:
    stop = asyncio.Event()
    lifetime.stop_on_signals(stop)

    async def shared_dir() -> None:
        configured.shared_dir.mkdir(parents=True, exist_ok=True)
        if not os.access(configured.shared_dir, os.R_OK | os.W_OK | os.X_OK):
            raise errors.StorageError(f"{configured.shared_dir} cannot be read and written")

    app = serving.health_app("files", {"shared_dir": shared_dir})
    await serving.serve(app, stop, host=configured.internal_host, port=configured.files_port)


if __name__ == "__main__":
    run(settings.load())
