"""Run one process of the gateway."""

from __future__ import annotations

import asyncio
import socket

from services.api import app, context
from shared import errors, settings
from shared.broker import broker
from shared.config import live, loading
from shared.executors import factory
from shared.http import serving
from shared.observe import logs
from shared.runtime import lifetime
from shared.store import stores
from shared.system import timekeeping


def run(configured: settings.Settings, listen_fd: int | None = None) -> None:
    """Serve the Web API until SIGINT or SIGTERM, on the inherited listening socket `listen_fd` if there is one."""
    logs.configure("api", level=configured.log_level)
    settings.check_secrets(configured)
    lifetime.run(serve(configured, listen_fd))


async def serve(configured: settings.Settings, listen_fd: int | None) -> None:
    stop = asyncio.Event()
    lifetime.stop_on_signals(stop)
    live.listen(configured, stop)
    listening = socket.socket(fileno=listen_fd) if listen_fd is not None else None
    async with stores.connect(configured) as opened, broker.connect(configured) as hints:
        gateway = context.build(configured, opened, hints, factory.build(configured).features())
        application = app.build(gateway)

        async def http(stop: asyncio.Event) -> None:
            await serving.serve(
                application,
                stop,
                host=configured.host,
                port=configured.port,
                listening=listening,
                proxies=configured.trusted_proxies,
            )

        async def prepare(stop: asyncio.Event) -> None:
            await lifetime.until_done(stop, opened.prepare)
            await stop.wait()

        try:
            # Before the first task: one that is accepted earlier would have the time of this machine.
            async with timekeeping.synchronized(opened):
                await lifetime.run_loops({"http": http, "hints": gateway.hints.run, "prepare": prepare}, stop=stop)
        except BaseExceptionGroup as failures:
            # A configuration error is one line without a traceback.
            if rejected := failures.subgroup(errors.ConfigurationError):
                raise rejected.exceptions[0] from None
            raise
        finally:
            await gateway.files.close()
            await gateway.scheduler.close()


if __name__ == "__main__":
    run(loading.load())
