"""The client for ordinary programs. For asyncio there is `aio.AsyncClient`, with the same methods."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, TypeVar

import httpx
import httpx_sse

from godocker_client import documents, errors, operations
from godocker_client.following import Event, Following
from godocker_client.session import Answer, Operation, Pause, Request, Session, checked
from godocker_client.task import Task
from godocker_client.transport import PAUSE, STREAM_TIMEOUT, TIMEOUT, answer_of

T = TypeVar("T")


class Client:
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
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT, follow_redirects=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- tasks ----------------------------------------------------------------------

    def submit(self, command: str, *, image: str, key: str | None = None, **words: Any) -> int:
        """
        Create a task and return its id. `words` are those of `documents.WORDS`: `cpu`, `ram`, `gpus`, `array`, `after` … `key`
        makes it safe to call this again with the same task after a crash of the caller. Raises `errors.ApiError`.
        """
        return self.submit_document(documents.build(command=command, image=image, **words), key=key)

    def submit_document(self, document: dict[str, Any], *, key: str | None = None) -> int:
        """Create a task from a task object of the Web API."""
        return self.do(operations.submit(self.session, document, key=key))

    def dry_run(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return what the server says of a task, without creating it."""
        return self.do(operations.dry_run(self.session, document))

    def get(self, task_id: int) -> Task:
        return self.do(operations.get(self.session, task_id))

    def wait(self, task_id: int, *, timeout: float | None = None) -> Task:
        """Return the task once it is over; an array once all its children are. Raises `errors.TaskTimeout`."""
        return self.do(operations.wait(self.session, task_id, timeout=timeout))

    def kill(self, task_id: int) -> None:
        self.do(operations.kill(self.session, task_id))

    def suspend(self, task_id: int) -> None:
        self.do(operations.act(self.session, task_id, "suspend"))

    def resume(self, task_id: int) -> None:
        self.do(operations.act(self.session, task_id, "resume"))

    def release(self, task_id: int) -> None:
        """Let a held task start."""
        self.do(operations.act(self.session, task_id, "pending"))

    def archive(self, task_id: int) -> None:
        """Remove the files of a task that is over; its record stays."""
        self.do(operations.archive(self.session, task_id))

    def delete(self, task_id: int) -> None:
        """Remove a task that is over, with its files and its record."""
        self.do(operations.delete(self.session, task_id))

    def explain(self, task_id: int) -> dict[str, Any]:
        """Return why a task is where it is: all reasons, node by node."""
        return self.do(operations.explain(self.session, task_id))

    def active(self, *, everybody: bool = False) -> list[Task]:
        """Return the tasks that are not over, the newest first."""
        return self.do(operations.listed(self.session, active=True, everybody=everybody))

    def ended(self, *, limit: int = 100, everybody: bool = False) -> list[Task]:
        """Return the tasks that ended last, the latest first."""
        return self.do(operations.listed(self.session, active=False, everybody=everybody, limit=limit))

    # --- output and files -------------------------------------------------------------

    def log(self, task_id: int, *, stream: str = "out", tail: int | None = None, attempt: int | None = None) -> bytes:
        """Return what the task has written so far."""
        request = Following(task_id, stream=stream, tail=tail, attempt=attempt).request()
        plain = Request(request.method, request.path, params=request.params)
        return self.do(self.session.call(plain)).content

    def follow(
        self, task_id: int, *, stream: str | None = None, tail: int | None = None, attempt: int | None = None
    ) -> Iterator[Event]:
        """
        Yield what a task writes, as it writes it, until it is over. A broken connection is continued at the byte where it broke.
        Raises `errors.ApiError`, and `errors.ServerUnreachable` once the patience is over.
        """
        following = Following(task_id, stream=stream, tail=tail, attempt=attempt)
        patience = self.session.patience()
        while not following.has_ended:
            try:
                for event in self._stream(following):
                    patience.renew()
                    yield event
            except httpx.TransportError as error:
                if patience.is_over():
                    raise errors.ServerUnreachable(f"{self._http.base_url} does not answer") from error
            except errors.ServerError:
                if patience.is_over():
                    raise
            if not following.has_ended:
                time.sleep(PAUSE)

    def _stream(self, following: Following) -> Iterator[Event]:
        request = following.request()
        if self.session.token is None:
            self.do(self.session.login())
        with httpx_sse.connect_sse(
            self._http,
            request.method,
            request.path,
            params=dict(request.params),
            headers={**request.headers, **self.session.headers()},
            timeout=STREAM_TIMEOUT,
        ) as source:
            if source.response.status_code != httpx.codes.OK:
                source.response.read()
                if source.response.status_code == httpx.codes.UNAUTHORIZED and self.session.can_login:
                    self.session.token = None
                    return
                checked(answer_of(source.response))
            for event in source.iter_sse():
                if (taken := following.take(event.event, event.data, event.id)) is not None:
                    yield taken

    def files(self, task_id: int, path: str = "") -> list[dict[str, Any]]:
        """Return the entries of a directory of the task, each with name, type and size."""
        return self.do(operations.files(self.session, task_id, path))

    def read(self, task_id: int, path: str) -> bytes:
        """Return the content of a file of the task."""
        return self.do(operations.read(self.session, task_id, path))

    def download(self, task_id: int, path: str) -> Iterator[bytes]:
        """Yield the content of a file of the task in pieces, continued by range where the connection breaks."""
        offset, etag, patience = 0, "", self.session.patience()
        self.do(operations.get(self.session, task_id))
        while True:
            headers = self.session.headers() | ({"Range": f"bytes={offset}-", "If-Match": etag} if offset else {})
            try:
                with self._http.stream("GET", operations.file_path(task_id, path), headers=headers) as response:
                    if response.status_code >= 400:
                        response.read()
                        checked(answer_of(response))
                    etag = response.headers.get("etag", "")
                    for piece in response.iter_raw():
                        offset += len(piece)
                        patience.renew()
                        yield piece
                    return
            except httpx.TransportError as error:
                if patience.is_over() or (offset and not etag):
                    raise errors.ServerUnreachable(f"{self._http.base_url} does not answer") from error
            time.sleep(PAUSE)

    def upload(self, user: str, path: str, content: bytes | Iterator[bytes]) -> None:
        """Store a file in the personal storage of `user`."""
        self.document(f"user/{user}")  # so that it begins with a token that is good
        try:
            response = self._http.put(
                operations.storage_path(user, path), content=content, headers=self.session.headers(), timeout=None
            )
        except httpx.TransportError as error:
            raise errors.ServerUnreachable(f"the upload of {path} broke off") from error
        checked(answer_of(response))

    def document(self, path: str) -> Any:
        """Return what a route of the API answers, by its path: `config`, `user/alice/usage` …"""
        return self.do(operations.document(self.session, path))

    # ------------------------------------------------------------------------------------

    def do(self, operation: Operation[T]) -> T:
        """Carry an operation out."""
        try:
            step = next(operation)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = operation.send(None)
                    continue
                try:
                    answer = self._send(step)
                except httpx.TransportError as error:
                    step = operation.throw(errors.ServerUnreachable(f"{self._http.base_url} does not answer: {error}"))
                else:
                    step = operation.send(answer)
        except StopIteration as stopped:
            result: T = stopped.value
            return result

    def _send(self, request: Request) -> Answer:
        return answer_of(
            self._http.request(
                request.method,
                request.path,
                params=dict(request.params),
                json=request.json,
                content=request.content,
                headers=dict(request.headers),
            )
        )
