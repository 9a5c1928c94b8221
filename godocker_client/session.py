"""
Requests to one server as one user, without doing any of it: pure.

An operation is a generator. It yields a `Request` and is sent the `Answer`, or yields a `Pause` and is sent nothing. The sync and
the async client drive the same generators, so that retries, logins and idempotency keys are decided in one place.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from godocker_client import errors

T = TypeVar("T")

API = "/api/1.0"
_FIRST, _MOST = 0.2, 5.0  #: seconds between two tries
_PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `repeatable`: it may be sent a second time without harm, if no answer came."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content) if self.content else None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Operation = Generator["Request | Pause", "Answer | None", T]


class Patience:
    """The time for which failures of a request are retried, counted from the last success."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self.renew()

    def renew(self) -> None:
        """Start again: the server answered."""
        self._until = self._monotonic() + self._seconds

    def is_over(self, wait: float = 0.0) -> bool:
        """Return whether it will be over after a pause of `wait` seconds."""
        return self._monotonic() + wait > self._until


class Session:
    """The token of one user, and how long a server that does not answer is waited for."""

    def __init__(
        self,
        *,
        token: str | None = None,
        user: str | None = None,
        apikey: str | None = None,
        password: str | None = None,
        patience: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.token = token
        self.user = user
        self._secret = {"apikey": apikey} if apikey else {"password": password} if password else None
        self._patience = patience
        self._monotonic = monotonic

    @property
    def can_login(self) -> bool:
        """True if a new token can be had without asking the user."""
        return self._secret is not None

    def headers(self) -> dict[str, str]:
        """Return the headers that every request carries."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def call(self, request: Request) -> Operation[Answer]:
        """
        Send a request until it is answered, and log in where that is needed. Raises `errors.ApiError` for what the server
        refuses, and `errors.ServerUnreachable` once the patience is over.
        """
        if self.token is None and self._secret is not None:
            yield from self.login()
        answer = yield from self._patiently(request)
        if answer.status == 401 and self._secret is not None:
            yield from self.login()
            answer = yield from self._patiently(request)
        return checked(answer)

    def login(self) -> Operation[None]:
        """Get a token for the API key or the password. Raises as `call`."""
        if self._secret is None:
            raise errors.NotLoggedIn(401, "not_authenticated", "there is no API key to log in with", request_id=None)
        request = Request("POST", f"{API}/authenticate", json={"user": self.user, **self._secret})
        answer = yield from self._patiently(replace(request, headers={}), signed=False)
        self.token = str(checked(answer).json()["token"])

    def _patiently(self, request: Request, *, signed: bool = True) -> Operation[Answer]:
        patience, delay = self.patience(), _FIRST
        while True:
            headers = {**request.headers, **(self.headers() if signed else {})}
            try:
                answer = yield replace(request, headers=headers)
                assert answer is not None
                wait = _wait_of(answer) if answer.status in _PASSING else None
                if answer.status not in _PASSING or not request.repeatable or patience.is_over(wait or delay):
                    return answer
            except errors.ServerUnreachable:
                wait = None
                if not request.repeatable or patience.is_over(delay):
                    raise
            # Not all at once: a thousand clients wait for the same server.
            yield Pause(wait if wait is not None else delay * random.uniform(0.75, 1.25))
            delay = min(2 * delay, _MOST)

    def patience(self) -> Patience:
        """Return a new count of the seconds that a server which does not answer is waited for."""
        return Patience(self._patience, self._monotonic)


def new_key() -> str:
    """Return an idempotency key: a request that is sent again under it creates nothing a second time."""
    return uuid.uuid4().hex


def _wait_of(answer: Answer) -> float | None:
    value = answer.headers.get("retry-after", "")
    return min(float(value), 60.0) if value.isascii() and value.isdigit() else None


def checked(answer: Answer) -> Answer:
    """Return the answer, or raise the `errors.ApiError` that it stands for."""
    if answer.status < 400:
        return answer
    try:
        document = answer.json()
    except ValueError:
        document = None
    raise errors.of_answer(answer.status, document, request_id=answer.headers.get("x-request-id"))
