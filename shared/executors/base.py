"""
The protocol between GoDocker and whatever runs the tasks.

An executor is built in `factory` and named in `Settings.executor`. Callers ask it by `features()`, never by its name.
Times are seconds since the epoch on our clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from shared import settings
from shared.executors.types import (
    Boot,
    Circumstances,
    Event,
    Feature,
    Handle,
    NodeReport,
    Observation,
    Owner,
    Run,
    Stats,
)


class Executor(Protocol):
    """
    Starts, observes and stops runs on nodes. Every call has a deadline and raises `errors.NodeUnavailable` when the node does
    not answer in time: then the effect is unknown, and repeating the call is safe.
    """

    @property
    def name(self) -> str: ...

    @property
    def owner(self) -> Owner | None:
        """The system whose runs it starts and recognizes; None for an executor that only one system can have."""
        ...

    def features(self) -> frozenset[Feature]: ...

    async def set_nodes(self, nodes: Sequence[settings.Node]) -> None:
        """Replace the nodes by these. Other nodes are left alone, whatever runs there."""
        ...

    def node_names(self) -> Sequence[str]:
        """Return the configured nodes, whether they answer or not."""
        ...

    async def nodes(self) -> Sequence[NodeReport]:
        """Return one report per configured node. A node that does not answer is reported as not ready, with the reason."""
        ...

    async def prepare(self, run: Run) -> None:
        """
        Prepare the node for the run: pull its image if it is missing. Takes as long as the pull; cancelling is safe. Raises
        `errors.StartFailed` subclasses.
        """
        ...

    async def start(self, run: Run) -> float:
        """
        Start the run and return its start time (seconds since the epoch). Repeating the call never makes a second run: an
        existing run is adopted, an ended one is left as it is. Raises `errors.StartFailed` subclasses when the attempt neither
        runs nor will.
        """
        ...

    async def booted(self, node: str) -> Boot | None:
        """Return the node's last boot; None where unknown. A node that is shutting down counts as not answering."""
        ...

    async def list(self, node: str) -> Sequence[Observation]:
        """Return every run of the owner on the node, ended ones with exit code and times."""
        ...

    async def inspect(self, handle: Handle) -> Observation | None:
        """Return the run's present state; None where it does not exist."""
        ...

    async def circumstances(self, handle: Handle, *, image: bool) -> Circumstances:
        """Return facts about the end of a run that still exists. `image`: also check whether its image can run a shell."""
        ...

    def events(self, node: str) -> AsyncIterator[Event]:
        """Yield hints forever, reconnecting as needed; a `RESYNC` first and after each reconnection."""
        ...

    async def stop(self, handle: Handle, *, grace: float) -> None:
        """
        Stop all of the run: SIGTERM, up to `grace` seconds, SIGKILL. Return when it no longer runs. A run that does not exist or
        has ended is fine.
        """
        ...

    async def pause(self, handle: Handle) -> None:
        """Freeze every process of the run. A paused run is fine."""
        ...

    async def resume(self, handle: Handle) -> None:
        """Undo `pause`. A run that is not paused is fine."""
        ...

    async def remove(self, handle: Handle) -> None:
        """Remove the run with all it holds, killing it if it runs. A run that does not exist is fine."""
        ...

    async def stats(self, handle: Handle) -> Stats | None:
        """Return a sample of a live run; None where it does not run."""
        ...

    async def close(self) -> None: ...
