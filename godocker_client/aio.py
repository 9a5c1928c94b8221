"""The client for asyncio: `client.Client` with the same methods, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import httpx
import httpx_sse

from godocker_client import documents, errors, operations
from godocker_client.following import Event, Following
from godocker_client.session import Answer, Operation, Pause, Request, Session, checked
from godocker_client.task import Task
from godocker_client.transport import PAUSE, STREAM_TIMEOUT, TIMEOUT, answer_of

T = TypeVar("T")


class AsyncClient:
    """
    One user of one server. Give a `token`, or `user` and `apikey` (or `password`): then the client logs in, and again when the
    token has expired. `patience` is how many seconds a server that does not answer is waited for.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user: str | None = None,
        apikey: str | None = None,
        password: str | None = None,
        patience: float = 60.0,
    ) -> None:
        self.session = Session(token=token, user=user, apikey=apikey, password=password, patience=patience)
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT, follow_redirects=False)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    # --- tasks ----------------------------------------------------------------------

    async def submit(self, command: str, *, image: str, key: str | None = None, **words: Any) -> int:
        """
        Create a task and return its id. `words` are those of `documents.WORDS`: `cpu`, `ram`, `gpus`, `array`, `after` … `key`
        makes it safe to call this again with the same task after a crash of the caller. Raises `errors.ApiError`.
        """
        return await self.submit_document(documents.build(command=command, image=image, **words), key=key)

    async def submit_document(self, document: dict[str, Any], *, key: str | None = None) -> int:
        """Create a task from a task object of the Web API."""
        return await self.do(operations.submit(self.session, document, key=key))

    async def dry_run(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return what the server says of a task, without creating it."""
        return await self.do(operations.dry_run(self.session, document))

    async def get(self, task_id: int) -> Task:
        return await self.do(operations.get(self.session, task_id))

    async def wait(self, task_id: int, *, timeout: float | None = None) -> Task:
        """Return the task once it is over; an array once all its children are. Raises `errors.TaskTimeout`."""
        return await self.do(operations.wait(self.session, task_id, timeout=timeout))

    async def kill(self, task_id: int) -> None:
        await self.do(operations.kill(self.session, task_id))

    async def suspend(self, task_id: int) -> None:
        await self.do(operations.act(self.session, task_id, "suspend"))

    async def resume(self, task_id: int) -> None:
        await self.do(operations.act(self.session, task_id, "resume"))

    async def release(self, task_id: int) -> None:
        """Let a held task start."""
        await self.do(operations.act(self.session, task_id, "pending"))

    async def archive(self, task_id: int) -> None:
        """Remove the files of a task that is over; its record stays."""
        await self.do(operations.archive(self.session, task_id))

    async def delete(self, task_id: int) -> None:
        """Remove a task that is over, with its files and its record."""
        await self.do(operations.delete(self.session, task_id))

    async def explain(self, task_id: int) -> dict[str, Any]:
        """Return why a task is where it is: all reasons, node by node."""
        return await self.do(operations.explain(self.session, task_id))

    async def active(self, *, everybody: bool = False) -> list[Task]:
        """Return the tasks that are not over, the newest first."""
        return await self.do(operations.listed(self.session, active=True, everybody=everybody))

    async def ended(self, *, limit: int = 100, everybody: bool = False) -> list[Task]:
        """Return the tasks that ended last, the latest first."""
        return await self.do(operations.listed(self.session, active=False, everybody=everybody, limit=limit))

    # --- output and files -------------------------------------------------------------

    async def log(
        self, task_id: int, *, stream: str = "out", tail: int | None = None, attempt: int | None = None
    ) -> bytes:
        """Return what the task has written so far."""
        request = Following(task_id, stream=stream, tail=tail, attempt=attempt).request()
        plain = Request(request.method, request.path, params=request.params)
        return (await self.do(self.session.call(plain))).content

    async def follow(
        self, task_id: int, *, stream: str | None = None, tail: int | None = None, attempt: int | None = None
    ) -> AsyncIterator[Event]:
        """
        Yield what a task writes, as it writes it, until it is over. A broken connection is continued at the byte where it broke.
        Raises `errors.ApiError`, and `errors.ServerUnreachable` once the patience is over.
        """
        following = Following(task_id, stream=stream, tail=tail, attempt=attempt)
        patience = self.session.patience()
        while not following.has_ended:
            try:
                async for event in self._stream(following):
                    patience.renew()
                    yield event
            except httpx.TransportError as error:
                if patience.is_over():
                    raise errors.ServerUnreachable(f"{self._http.base_url} does not answer") from error
            except errors.ServerError:
                if patience.is_over():
                    raise
            if not following.has_ended:
                await asyncio.sleep(PAUSE)

    async def _stream(self, following: Following) -> AsyncIterator[Event]:
        request = following.request()
        if self.session.token is None:
            await self.do(self.session.login())
        async with httpx_sse.aconnect_sse(
            self._http,
            request.method,
            request.path,
            params=dict(request.params),
            headers={**request.headers, **self.session.headers()},
            timeout=STREAM_TIMEOUT,
        ) as source:
            if source.response.status_code != httpx.codes.OK:
                await source.response.aread()
                if source.response.status_code == httpx.codes.UNAUTHORIZED and self.session.can_login:
                    self.session.token = None
                    return
                checked(answer_of(source.response))
            async for event in source.aiter_sse():
                if (taken := following.take(event.event, event.data, event.id)) is not None:
                    yield taken

    async def files(self, task_id: int, path: str = "") -> list[dict[str, Any]]:
        """Return the entries of a directory of the task, each with name, type and size."""
        return await self.do(operations.files(self.session, task_id, path))

    async def read(self, task_id: int, path: str) -> bytes:
        """Return the content of a file of the task."""
        return await self.do(operations.read(self.session, task_id, path))

    async def download(self, task_id: int, path: str) -> AsyncIterator[bytes]:
        """Yield the content of a file of the task in pieces, continued by range where the connection breaks."""
        offset, etag, patience = 0, "", self.session.patience()
        await self.do(operations.get(self.session, task_id))
        while True:
            headers = self.session.headers() | ({"Range": f"bytes={offset}-", "If-Match": etag} if offset else {})
            try:
                async with self._http.stream("GET", operations.file_path(task_id, path), headers=headers) as response:
                    if response.status_code >= 400:
                        await response.aread()
                        checked(answer_of(response))
                    etag = response.headers.get("etag", "")
                    async for piece in response.aiter_raw():
                        offset += len(piece)
                        patience.renew()
                        yield piece
                    return
            except httpx.TransportError as error:
                if patience.is_over() or (offset and not etag):
                    raise errors.ServerUnreachable(f"{self._http.base_url} does not answer") from error
            await asyncio.sleep(PAUSE)

    async def upload(self, user: str, path: str, content: bytes | AsyncIterator[bytes]) -> None:
        """Store a file in the personal storage of `user`."""
        await self.document(f"user/{user}")  # so that it begins with a token that is good
        try:
            response = await self._http.put(
                operations.storage_path(user, path), content=content, headers=self.session.headers(), timeout=None
            )
        except httpx.TransportError as error:
            raise errors.ServerUnreachable(f"the upload of {path} broke off") from error
        checked(answer_of(response))

    async def document(self, path: str) -> Any:
        """Return what a route of the API answers, by its path: `config`, `user/alice/usage` …"""
        return await self.do(operations.document(self.session, path))

    # ------------------------------------------------------------------------------------

    async def do(self, operation: Operation[T]) -> T:
        """Carry an operation out."""
        try:
            step = next(operation)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = operation.send(None)
                    continue
                try:
                    answer = await self._send(step)
                except httpx.TransportError as error:
                    step = operation.throw(errors.ServerUnreachable(f"{self._http.base_url} does not answer: {error}"))
                else:
                    step = operation.send(answer)
        except StopIteration as stopped:
            result: T = stopped.value
            return result

    async def _send(self, request: Request) -> Answer:
        return answer_of(
            await self._http.request(
                request.method,
                request.path,
                params=dict(request.params),
                json=request.json,
                content=request.content,
                headers=dict(request.headers),
            )
        )
