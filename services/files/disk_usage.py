"""Measure the free space on the file system of `shared_dir`."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import structlog

from services.files.threads import Threads
from shared.observe import metrics
from shared.runtime import lifetime

log = structlog.get_logger(__name__)

INTERVAL = 15.0  #: seconds


async def watch(stop: asyncio.Event, directory: Path, threads: Threads) -> None:
    """Measure until `stop`. A file system that hangs blocks one thread and this measure, nothing else."""
    async for _ in lifetime.every(stop, INTERVAL):
        try:
            usage = await threads.lookup(shutil.disk_usage, directory)
        except OSError as error:
            log.warning("disk_usage.not_measured", error=str(error))
            continue
        metrics.SHARED_DIR.labels("total").set(usage.total)
        # Without the blocks reserved for root, which nobody else can use.
        metrics.SHARED_DIR.labels("free").set(usage.free)
