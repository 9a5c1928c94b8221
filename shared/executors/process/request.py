"""A request to the fork server: all that a run's shim needs, packed for a pipe between two processes of one program."""

from __future__ import annotations

import marshal

HEADER = 8  #: bytes before a request with its length

BEGAN, TAKEN, LATE, REFUSED = "began", "taken", "late", "refused"
#: Answers are `number word detail…`, each written at once, so that those of many shims do not mix (pipe(7), PIPE_BUF).
DIED = "died"


class Request:
    """A request to start one run."""

    __slots__ = (
        "argv",
        "attempt",
        "directory",
        "drain",
        "environment",
        "identity",
        "limits",
        "name",
        "number",
        "patience",
        "record",
        "umask",
        "until",
    )

    def __init__(
        self,
        *,
        number: int,
        name: str,
        attempt: int,
        record: str,
        until: float,
        directory: str,
        argv: list[str],
        environment: dict[str, str],
        identity: tuple[int, int, list[int]] | None,
        limits: list[tuple[int, int, int]],
        umask: int,
        drain: float,
        patience: float,
    ) -> None:
        self.number = number  #: of the request, repeated in the answer
        self.name = name  #: of the run
        self.attempt = attempt
        self.record = record  #: the run's record so far: a JSON object without its closing brace
        self.until = until  #: on the monotonic clock; the run is not begun after it
        self.directory = directory
        self.argv = argv
        self.environment = environment
        self.identity = identity  #: uid, gid and groups to change to; None: keep ours
        self.limits = limits  #: resource, soft and hard limit, for setrlimit(2)
        self.umask = umask
        self.drain = drain  #: seconds to wait after the command's end for processes that hold the output
        self.patience = patience  #: the same after all of the run was told to end

    def packed(self) -> bytes:
        body = marshal.dumps({name: getattr(self, name) for name in self.__slots__})
        return len(body).to_bytes(HEADER, "big") + body


def unpacked(body: bytes) -> Request:
    """Unpack a request without its header. The bytes come from the executor that started this process."""
    return Request(**marshal.loads(body))
