"""Read the output of one attempt, whose file is renamed when a later attempt is prepared."""

from __future__ import annotations

from services.api.clients.files import FilesService, LogAnswer
from services.api.logs.position import FILES, Stream
from shared import errors
from shared.auth.grants import Grant
from shared.models.work import Progress


class AttemptFiles:
    """Reads the output of a task with a `grant` for its directory."""

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
        Return the output of `attempt` from `offset`, or its last `lines` lines; None if there is none. With `follow`,
        also return what is appended. Raises `errors.FilesUnavailable`, and `errors.RangeNotSatisfiable` for an offset
        past the end.
        """
        for name in _names(stream, attempt, progress):
            try:
                return await self._files.log(self._grant, name.encode(), offset=offset, lines=lines, follow=follow)
            except errors.NotFound:
                continue
        return None


def _names(stream: Stream, attempt: int, progress: Progress) -> list[str]:
    """Return the possible file names of an attempt's output, the likeliest first."""
    name = FILES[stream]
    if attempt >= progress.attempt:
        return [name]
    # It is renamed when a later attempt is prepared, which is not recorded.
    return [f"{name}.{attempt}", name] if progress.started_at is None else [f"{name}.{attempt}"]
