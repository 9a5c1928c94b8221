"""Measure the lag of a process's event loop and its resources, and end a process whose loop is stuck."""

from __future__ import annotations

import asyncio
import faulthandler
import time

import psutil

from shared import clock
from shared.observe import metrics

INTERVAL = 0.25  #: seconds between two measurements of the loop
STILL = 60.0  #: seconds after which a loop counts as stuck for good
_LOOKS = 8  #: measurements of the loop for one of the process


async def watch() -> None:
    """
    Measure until cancelled. A loop that is stuck for `STILL` seconds writes the stacks of all threads to standard error and
    ends its process, as a kill would: its parent restarts it, and others take over its leases meanwhile.
    """
    try:
        await _measure()
    finally:
        faulthandler.cancel_dump_traceback_later()


async def _measure() -> None:
    process = psutil.Process()
    used = 0.0
    while True:
        faulthandler.dump_traceback_later(STILL, exit=True)
        now = time.process_time()
        metrics.PROCESS_CPU.inc(now - used)
        used = now
        metrics.PROCESS_MEMORY.set(process.memory_info().rss)
        metrics.PROCESS_FILES.set(process.num_fds())
        for _ in range(_LOOKS):
            began = clock.monotonic()
            await asyncio.sleep(INTERVAL)
            metrics.LOOP_LAG.observe(max(0.0, clock.monotonic() - began - INTERVAL))
