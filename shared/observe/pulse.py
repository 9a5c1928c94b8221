"""How late a process's event loop comes to what is due, and what the process takes; one that stands still is ended."""

from __future__ import annotations

import asyncio
import faulthandler
import time

import psutil

from shared import clock
from shared.observe import metrics

INTERVAL = 0.25  #: seconds between two looks at the loop
STILL = 60.0  #: seconds after which a loop counts as one that stands still for ever
_LOOKS = 8  #: at the loop, for one at the process


async def watch() -> None:
    """
    Measure until cancelled. A loop that stands still for `STILL` seconds leaves the stacks of all threads on standard error and
    ends its process, as a kill would: whoever started it starts it again, and meanwhile another takes over what it held.
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
