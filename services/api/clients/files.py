"""
Speak to the files service: forward a request that may be answered, with a grant for one directory, and its answer back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote_from_bytes

import httpx
import structlog
from starlette.responses import Response

from services.api.clients.streaming import Fetched, Fetcher
from shared import clock, errors
from shared.auth import grants, moments
from shared.auth.grants import Grant
from shared.http import streaming
from shared.observe import metrics
from shared.settings import Settings

log = structlog.get_logger(__name__)

#: Concurrent transfers of one gateway process. A slow client holds one of them and nothing else.
_CONNECTIONS = httpx.Limits(max_connections=1000, max_keepalive_connections=50, keepalive_expiry=20)
#: Seconds. `read` is the wait for each piece: a long listing, or writing a large file to disk, takes a while.
_TIMEOUTS = httpx.Timeout(connect=2.0, read=60.0, write=60.0, pool=5.0)
_HEALTH_TIMEOUT = 2.0  #: seconds
_READS = ("GET", "HEAD")
_OFFSET, _SIZE = "X-GoDocker-Offset", "X-GoDocker-Size"

_SENT = ("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "content-length")
_ANSWERED = frozenset(
    {"content-type", "content-length", "content-range", "content-disposition", "accept-ranges", "etag", "last-modified"}
    | {
        "cache-control",
        "content-security-policy",
        "cross-origin-resource-policy",
        "x-content-type-options",
        "retry-after",
    }
)
#: Answers to pass on to the client. Any other means that the two services do not understand each other.
_PASSED_ON = frozenset({200, 206, 304, 404, 408, 409, 412, 413, 416, 422, 503})


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """Bytes of a file from `offset` on, of `size` at that moment. Closing `pieces` ends the transfer."""

    offset: int
    size: int
    pieces: streaming.Pieces


@dataclass(frozen=True, slots=True)
class _Request:
    """A request for a path below the granted directory."""

    method: str
    grant: Grant
    path: bytes
    headers: Mapping[str, str]
    body: AsyncIterator[bytes] | None = None
    route: str = "/files?"


class FilesService:
    """The files service as the gateway sees it."""

    def __init__(self, settings: Settings) -> None:
        self._key = grants.key(settings.secret_passphrase.get_secret_value())
        self._ahead = 0.0  # seconds by which the service's clock is ahead of ours; it checks grants by its own
        self._fetcher = Fetcher(settings.files_base_url)
        self._client = httpx.AsyncClient(
            base_url=settings.files_base_url,
            transport=httpx.AsyncHTTPTransport(limits=_CONNECTIONS, trust_env=False),
            timeout=_TIMEOUTS,
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        await self._client.aclose()
        await self._fetcher.close()

    async def ping(self) -> None:
        """Raise `errors.FilesUnavailable` unless the service is healthy."""
        try:
            answer = await self._client.get("/health", timeout=_HEALTH_TIMEOUT)
        except httpx.HTTPError as error:
            raise _unavailable(error) from error
        if answer.status_code != httpx.codes.OK:
            raise errors.FilesUnavailable("the files service is not healthy")

    async def forward(
        self,
        method: str,
        grant: Grant,
        path: bytes,
        *,
        headers: Mapping[str, str],
        body: AsyncIterator[bytes] | None = None,
    ) -> Response:
        """
        Return the service's answer to `method` on `path` below the granted directory, streamed. Raises
        `errors.FilesUnavailable` and what `body` raises.
        """
        sent = {name: headers[name] for name in _SENT if name in headers and (body or name != "content-length")}
        return await self._passed_on(method, await self._ask(_Request(method, grant, path, sent, body)))

    async def log(
        self, grant: Grant, path: bytes, *, offset: int, lines: int | None = None, follow: bool = False
    ) -> LogAnswer:
        """
        Return a file below the granted directory from `offset`, or from its last `lines` lines on, up to its present
        end; with `follow` also what is appended. Raises `errors.NotFound`, `errors.RangeNotSatisfiable` and
        `errors.FilesUnavailable`.
        """
        query = f"offset={offset}&follow={int(follow)}" + ("" if lines is None else f"&lines={lines}")
        answer = await self._ask(_Request("GET", grant, path, {}, route=f"/log?{query}&"))
        if answer.status == httpx.codes.OK:
            begin, size = (int(answer.headers[name]) for name in (_OFFSET, _SIZE))
            return LogAnswer(begin, size, _closing(answer))
        await answer.release()
        if answer.status == httpx.codes.NOT_FOUND:
            raise errors.NotFound("there is no such file")
        if answer.status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise errors.RangeNotSatisfiable(offset)
        raise errors.FilesUnavailable(f"the files service answered {answer.status}")

    async def tail(self, grant: Grant, path: bytes, *, most: int) -> bytes:
        """
        Return the last `most` bytes of a file below the granted directory; empty if it does not exist or is not a file.
        Raises `errors.FilesUnavailable` and `errors.TransferBroken`.
        """
        answer = await self._ask(_Request("GET", grant, path, {"range": f"bytes=-{most}"}))
        content = b""
        try:
            # A directory is answered with its whole listing.
            if answer.status == httpx.codes.PARTIAL_CONTENT:
                async for piece in answer.pieces:
                    content += piece
                    if len(content) >= most:
                        break
        finally:
            await answer.release()
        return content[:most]

    async def _ask(self, request: _Request) -> Fetched:
        """Send the request; without a body, retry it once if the service's clock turns out to differ from ours."""
        answer = await self._ask_once(request)
        if answer.status == httpx.codes.UNAUTHORIZED and self._learns_time(answer.headers) and request.body is None:
            await answer.release()
            answer = await self._ask_once(request)
        return answer

    async def _ask_once(self, request: _Request) -> Fetched:
        headers = {"Authorization": f"Bearer {self._token(request.grant)}", **request.headers}
        url = f"{request.route}path={quote_from_bytes(request.path, safe='/')}"
        if request.method in _READS:
            return await self._fetcher.ask(request.method, url, headers)
        built = self._client.build_request(request.method, url, headers=headers, content=request.body)
        try:
            answer = await self._client.send(built, stream=True)
        except httpx.HTTPError as error:
            raise _unavailable(error) from error
        return Fetched(answer.status_code, answer.headers, _pieces(answer), answer.aclose)

    async def check_room(self, grant: Grant, size: int) -> None:
        """
        Raise `errors.QuotaExceeded` if a file of `size` bytes does not fit into the granted directory, before its
        client sends any of it. Also raises `errors.FilesUnavailable`.
        """
        answer = await self._room(grant, size)
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._learns_time(answer.headers):
            answer = await self._room(grant, size)
        if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            raise errors.QuotaExceeded(str(answer.json()["detail"]))

    async def _room(self, grant: Grant, size: int) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token(grant)}"}
        try:
            return await self._client.get("/room", params={"size": size}, headers=headers)
        except httpx.HTTPError as error:
            raise _unavailable(error) from error

    def _token(self, grant: Grant) -> str:
        return grants.make(grant, key=self._key, now=clock.now() + self._ahead)

    def _learns_time(self, headers: Mapping[str, str]) -> bool:
        """
        Record the offset of the service's clock after it refused a grant as expired or not yet valid. Return whether it
        is new. An impostor of the service learns no more from this than the grant it was sent.
        """
        try:
            theirs = parsedate_to_datetime(headers.get("date", "")).timestamp()
        except (ValueError, OverflowError):
            return False
        ahead = theirs - clock.now()
        if abs(ahead - self._ahead) < moments.LEEWAY:
            return False
        self._ahead = ahead if abs(ahead) >= moments.LEEWAY else 0.0
        metrics.CLOCK_AHEAD.labels("files").set(self._ahead)
        log.warning("files.clock_differs", ahead=round(self._ahead), detail=f"clocks differ by {abs(round(ahead))} s")
        return True

    async def _passed_on(self, method: str, answer: Fetched) -> Response:
        if answer.status == httpx.codes.UNAUTHORIZED and self._ahead:
            await answer.release()
            raise errors.FilesUnavailable(
                f"the clocks of the gateway and of the files service differ by {abs(round(self._ahead))} s: try again"
            )
        if answer.status not in _PASSED_ON:
            await answer.release()
            log.error("files.not_understood", status=answer.status, method=method)
            raise errors.FilesUnavailable(f"the files service answered {answer.status}")
        shown = {name.lower(): value for name, value in answer.headers.items() if name.lower() in _ANSWERED}
        return streaming.Streamed(answer.pieces, status=answer.status, headers=shown, release=answer.release)


async def _closing(answer: Fetched) -> streaming.Pieces:
    try:
        async for piece in answer.pieces:
            yield piece
    finally:
        await answer.release()


async def _pieces(answer: httpx.Response) -> streaming.Pieces:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.HTTPError as error:
        raise errors.TransferBroken(f"the files service broke off the transfer: {type(error).__name__}") from error


def _unavailable(error: httpx.HTTPError) -> errors.FilesUnavailable:
    return errors.FilesUnavailable(f"the files service does not answer: {type(error).__name__}")
