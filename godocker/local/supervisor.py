"""Keep processes running: start them again when they die, end them in order when it is time."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from godocker.local import child_process, signals
from shared import clock

log = structlog.get_logger(__name__)

FIRST_DELAY = 0.2  #: seconds before a dead process is started again; doubles with each death
LONGEST_DELAY = 10.0
STEADY = 30.0  #: seconds of life after which the next death counts as the first
_STEP = 0.05
_REFUSED = 1  #: the exit code of a command that says why in its last line


@dataclass(slots=True)
class _Watched:
    child: child_process.Child
    started_at: float
    delay: float = FIRST_DELAY
    due: float | None = None  #: when it is started again; None while it runs
    deaths: int = 0


class Supervisor:
    """Processes that are to run until `stop`."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []

    def start(self, child: child_process.Child) -> None:
        """Start a process, and again whenever it dies."""
        child.start()
        log.info("process.started", name=child.name, pid=child.pid)
        self._watched.append(_Watched(child, clock.monotonic()))

    def keep(self, asked: signals.Signals, *, reload: Sequence[str]) -> None:
        """Start again what dies, and tell those named by `reload` to read their settings anew, until we are asked to stop."""
        passed_on = 0
        while not asked.stops:
            if asked.reloads > passed_on:
                passed_on = asked.reloads
                for watched in self._watched:
                    # One that is to be started again reads them anyway.
                    if watched.child.name in reload and watched.due is None:
                        watched.child.signal(signal.SIGHUP)
            asked.wait(self.look(clock.monotonic()))

    def deaths(self, name: str) -> int:
        return sum(watched.deaths for watched in self._watched if watched.child.name == name)

    def look(self, now: float) -> float:
        """Start again what is dead and due. Returns the seconds until the next one is due."""
        waits = [self._look_at(watched, now) for watched in self._watched]
        return min(waits, default=LONGEST_DELAY)

    def _look_at(self, watched: _Watched, now: float) -> float:
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
            said = _last_words(child)
            log.warning("process.died", name=child.name, status=child.exit_status(), again_in=pause, said=said)
        if now < watched.due:
            return watched.due - now
        try:
            child.start()
        except OSError as error:
            # No memory, no descriptors: like a process that dies at once.
            log.error("process.not_started", name=child.name, error=str(error))
        watched.started_at, watched.due = now, None
        log.info("process.restarted", name=child.name, pid=child.pid)
        return FIRST_DELAY

    def stop(self, order: Sequence[Sequence[str]], *, grace: float, asked: signals.Signals) -> None:
        """
        End the processes, one group of names after the other, each with SIGTERM and `grace` seconds before SIGKILL.
        Whoever asks once more does not wait for the grace.
        """
        before = asked.stops
        for names in order:
            group = [watched.child for watched in self._watched if watched.child.name in names]
            for child in group:
                child.signal(signal.SIGTERM)
            deadline = clock.monotonic() + grace
            while any(child.is_running() for child in group):
                if clock.monotonic() > deadline or asked.stops > before:
                    break
                asked.wait(_STEP)
            for child in group:
                if child.is_running():
                    log.warning("process.killed", name=child.name, grace=grace)
                    child.kill()
                child.forget()
                log.info("process.ended", name=child.name, status=child.exit_status())
        self._watched.clear()


def _last_words(child: child_process.Child) -> str | None:
    """The last line of the log of one that ended by itself because of something it found wrong: it says what."""
    if child.exit_status() != _REFUSED:
        return None
    return child_process.tail(child.program.log, 1).removeprefix("godocker: ") or None


def next_delay(delay: float, *, lived: float) -> tuple[float, float]:
    """The delay to use at the death after this one, and the one to use now: what lived long starts afresh."""
    now = FIRST_DELAY if lived >= STEADY else delay
    return min(now * 2, LONGEST_DELAY), now
