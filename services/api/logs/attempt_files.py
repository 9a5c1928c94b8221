"""Read the output of one attempt: from the file that it writes, or from the one that it was renamed to for a later attempt."""

from __future__ import annotations

from services.api.clients.files import FilesService, LogAnswer
from services.api.logs.position import FILES, Stream
from shared import errors
from shared.auth.grants import Grant
from shared.models.work import Progress


class AttemptFiles:
    """Reads the output of a task. `grant` is for its directory; where it has run out, the next request makes another."""

    def __init__(self, files: FilesService, grant: Grant) -> None:
        self._files = files
        self._grant = grant

    async def open(
        self,
        stream: Stream,
        attempt: int,
        progress: Progress,
        *,
        offset: int = 0,
        lines: int | None = None,
        follow: bool = False,
    ) -> LogAnswer | None:
        """
        Return the output of `attempt` from `offset`, or from its last `lines` lines on; None where there is none. `follow`: also
        what is appended to it. Raises `errors.FilesUnavailable`, and `errors.RangeNotSatisfiable` for an offset behind its end.
        """
        for name in _names(stream, attempt, progress):
            try:
                return await self._files.log(self._grant, name.encode(), offset=offset, lines=lines, follow=follow)
            except errors.NotFound:
                continue
        return None


def _names(stream: Stream, attempt: int, progress: Progress) -> list[str]:
    """The names under which the output of an attempt may be, the likeliest first."""
    name = FILES[stream]
    if attempt >= progress.attempt:
        return [name]
    # It is renamed when a later attempt is prepared, which the record does not say.
    return [f"{name}.{attempt}", name] if progress.started_at is None else [f"{name}.{attempt}"]
