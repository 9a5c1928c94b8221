"""A service whose event loop is stuck ends and shows where; one that is stopped in time does not."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, time
from shared.runtime import lifetime
from shared.observe import pulse

pulse.STILL = {still}
pulse.INTERVAL = 0.01

def stand_still():
    time.sleep({seconds})

async def main():
    await asyncio.sleep(0.2)
    stand_still()
    await asyncio.sleep(0.2)

lifetime.run(main())
{after}
print("it came to its end")
"""


def run(seconds: float, *, still: float, after: str = "") -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(seconds=seconds, still=still, after=after)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_process_with_a_stuck_loop_ends_and_shows_where() -> None:
    ended = run(45.0, still=1.0)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "Timeout" in ended.stderr
    assert "in stand_still" in ended.stderr


def test_a_running_loop_and_its_process_are_left_alone() -> None:
    ended = run(0.0, still=4.0, after="time.sleep(5.0)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "it came to its end\n", "")
