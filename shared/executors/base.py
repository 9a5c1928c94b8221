"""
The protocol between GoDocker and whatever runs the tasks.

Callers ask an executor by `features()`, never by its name. Times are seconds since the epoch on our clock.
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
    Every call has a deadline of its own and raises `errors.NodeUnavailable` when the node does not answer in it: then
    what was asked may or may not have happened, and asking again is safe.
    """

    @property
    def name(self) -> str: ...

    @property
    def owner(self) -> Owner | None:
        """Whose runs it makes and knows; None for one that only one system can have."""
        ...

    def features(self) -> frozenset[Feature]: ...

    async def set_nodes(self, nodes: Sequence[settings.Node]) -> None:
        """From now on these are the nodes: others are left alone, whatever runs there."""
        ...

    def node_names(self) -> Sequence[str]:
        """The configured nodes, whether they answer or not."""
        ...

    async def nodes(self) -> Sequence[NodeReport]:
        """One report per configured node; a node that does not answer is reported as not ready, with the reason."""
        ...

    async def prepare(self, run: Run) -> None:
        """
        Make the node able to start the run: bring its image there if it is not. Takes as long as a pull takes;
        cancelling it is safe. Raises `errors.StartFailed` subclasses.
        """
        ...

    async def start(self, run: Run) -> float:
        """
        Start the run and return when (seconds since the epoch). The same attempt again is the same run: one that
        exists is adopted, one that has ended is left as it is. Raises `errors.StartFailed` subclasses when
        nothing of the attempt runs nor will.
        """
        ...

    async def booted(self, node: str) -> Boot | None:
        """When the node last began anew; None where it cannot say. One that is going down counts as not answering."""
        ...

    async def list(self, node: str) -> Sequence[Observation]:
        """Every run of its owner that exists on the node, ended ones with exit code and times."""
        ...

    async def inspect(self, handle: Handle) -> Observation | None:
        """The run as it is now; None where it does not exist."""
        ...

    async def circumstances(self, handle: Handle, *, image: bool) -> Circumstances:
        """Facts around how the run ended, `image`: also whether that can run a shell. It is not removed yet."""
        ...

    def events(self, node: str) -> AsyncIterator[Event]:
        """Hints for ever, reconnecting by itself; a `RESYNC` first and after each reconnection."""
        ...

    async def stop(self, handle: Handle, *, grace: float) -> None:
        """
        SIGTERM, up to `grace` seconds, SIGKILL to all of the run. Returns when it no longer runs. A run that does
        not exist or has ended is fine.
        """
        ...

    async def pause(self, handle: Handle) -> None:
        """Freeze every process of the run. Already paused is fine."""
        ...

    async def resume(self, handle: Handle) -> None:
        """Undo `pause`. Not paused is fine."""
        ...

    async def remove(self, handle: Handle) -> None:
        """Remove the run and all it holds, killing what still runs. One that does not exist is fine."""
        ...

    async def stats(self, handle: Handle) -> Stats | None:
        """A sample of a live run; None where it does not run."""
        ...

    async def close(self) -> None: ...
