"""How late a process's event loop comes to what is due, and what the process takes."""

from __future__ import annotations

import asyncio
import time

import psutil

from shared import clock, metrics

INTERVAL = 0.25  #: seconds between two looks at the loop
_LOOKS = 8  #: at the loop, for one at the process


async def watch() -> None:
    """Measure until cancelled."""
    process = psutil.Process()
    used = 0.0
    while True:
        now = time.process_time()
        metrics.PROCESS_CPU.inc(now - used)
        used = now
        metrics.PROCESS_MEMORY.set(process.memory_info().rss)
        metrics.PROCESS_FILES.set(process.num_fds())
        for _ in range(_LOOKS):
            began = clock.monotonic()
            await asyncio.sleep(INTERVAL)
            metrics.LOOP_LAG.observe(max(0.0, clock.monotonic() - began - INTERVAL))
