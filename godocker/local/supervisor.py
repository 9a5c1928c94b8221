"""Supervision of processes: restarts when they die, and an ordered stop."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from godocker.local import child_process, signals
from shared import clock

log = structlog.get_logger(__name__)

FIRST_DELAY = 0.2  #: seconds before a dead process is restarted; doubles with each death
LONGEST_DELAY = 10.0
STEADY = 30.0  #: seconds of run time after which the next death counts as the first
_STEP = 0.05
_REFUSED = 1  #: exit code of a command whose last line is an error message


@dataclass(slots=True)
class _Watched:
    child: child_process.Child
    started_at: float
    delay: float = FIRST_DELAY
    due: float | None = None  #: time of the restart; None while it runs
    deaths: int = 0


class Supervisor:
    """Processes that are kept running until `stop`."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []

    def start(self, child: child_process.Child) -> None:
        """Start a process, and restart it whenever it dies."""
        child.start()
        log.info("process.started", name=child.name, pid=child.pid)
        self._watched.append(_Watched(child, clock.monotonic()))

    def keep(self, requests: signals.Signals, *, reload: Sequence[str]) -> None:
        """Restart dead processes, and pass reload requests to the processes named by `reload`, until a stop is requested."""
        passed_on = 0
        while not requests.stops:
            if requests.reloads > passed_on:
                passed_on = requests.reloads
                for watched in self._watched:
                    # A process about to be restarted reads its settings anyway.
                    if watched.child.name in reload and watched.due is None:
                        watched.child.signal(signal.SIGHUP)
            requests.wait(self.restart_due(clock.monotonic()))

    def deaths(self, name: str) -> int:
        return sum(watched.deaths for watched in self._watched if watched.child.name == name)

    def restart_due(self, now: float) -> float:
        """Restart dead processes that are due, and return the seconds until the next one is due."""
        waits = [self._restart_if_due(watched, now) for watched in self._watched]
        return min(waits, default=LONGEST_DELAY)

    def _restart_if_due(self, watched: _Watched, now: float) -> float:
        child = watched.child
        try:
            child.bound_log()
        except OSError as error:
            log.warning("process.log_not_bounded", name=child.name, error=str(error))
        if watched.due is None:
            if child.is_running():
                return LONGEST_DELAY
            watched.delay, pause = next_delay(watched.delay, lived=now - watched.started_at)
            watched.due = now + pause
            watched.deaths += 1
            last_line = _error_line(child)
            log.warning(
                "process.died", name=child.name, status=child.exit_status(), restart_in=pause, last_line=last_line
            )
        if now < watched.due:
            return watched.due - now
        try:
            child.start()
        except OSError as error:
            # No memory or descriptors: treat it like a process that dies at once.
            log.error("process.not_started", name=child.name, error=str(error))
        watched.started_at, watched.due = now, None
        log.info("process.restarted", name=child.name, pid=child.pid)
        return FIRST_DELAY

    def stop(self, order: Sequence[Sequence[str]], *, grace: float, requests: signals.Signals) -> None:
        """
        Stop the processes, one group of names after the other, with SIGTERM and after `grace` seconds SIGKILL. A second request
        to stop skips the grace.
        """
        before = requests.stops
        for names in order:
            group = [watched.child for watched in self._watched if watched.child.name in names]
            for child in group:
                child.signal(signal.SIGTERM)
            deadline = clock.monotonic() + grace
            while any(child.is_running() for child in group):
                if clock.monotonic() > deadline or requests.stops > before:
                    break
                requests.wait(_STEP)
            for child in group:
                if child.is_running():
                    log.warning("process.killed", name=child.name, grace=grace)
                    child.kill()
                child.forget()
                log.info("process.ended", name=child.name, status=child.exit_status())
        self._watched.clear()


def _error_line(child: child_process.Child) -> str | None:
    """Return the last line of the log of a process that ended with an error message."""
    if child.exit_status() != _REFUSED:
        return None
    return child_process.tail(child.program.log, 1).removeprefix("godocker: ") or None


def next_delay(delay: float, *, lived: float) -> tuple[float, float]:
    """Return the delay of the next death and of this one. A process that ran for `STEADY` starts with the first delay."""
    now = FIRST_DELAY if lived >= STEADY else delay
    return min(now * 2, LONGEST_DELAY), now
