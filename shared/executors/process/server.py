"""The executor's side of its fork server, which is started when first needed and again if it died."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

import shared
from shared.executors.process import request as requests

log = structlog.get_logger(__name__)

_ROOT = Path(shared.__file__).parents[1]
#: Without site directory and environment: the server imports little more than its own modules.
_PROGRAM = """\
import sys
sys.path.append(sys.argv[1])
from shared.executors.process import forkserver
forkserver.main(sys.argv[2])
"""
_LAUNCH_TIMEOUT = 30.0  #: seconds until a started server must have detached itself
_READ = 65536


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request: one of the words in `request` with its details."""

    word: str
    details: tuple[str, ...] = ()


class Server:
    """Sends requests to the fork server and receives its answers. Belongs to a loop; `send` may be called from a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._requests: int | None = None  #: the pipe for requests
        self._answers: int | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._rest = b""
        self._count = 0

    def expect(self) -> tuple[int, asyncio.Future[Answer]]:
        """Return a number for a request and its future answer: `DIED` if the server or the shim dies before answering."""
        self._count += 1
        answer = asyncio.get_running_loop().create_future()
        self._waiting[self._count] = answer
        return self._count, answer

    def forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def send(self, request: requests.Request, loop: asyncio.AbstractEventLoop) -> None:
        """Write a request, in this thread. Raises OSError where the server cannot be started."""
        packed = request.packed()
        for again in (True, False):
            if self._requests is None:
                self._start(loop)
            assert self._requests is not None
            try:
                _write(self._requests, packed)
            except BrokenPipeError:
                log.warning("process.fork_server_gone")
                os.close(self._requests)
                self._requests = None
                if not again:
                    raise
            else:
                return

    def close(self) -> None:
        """Disconnect. The server stays until its last run is over; it is not our child."""
        for descriptor in (self._requests, self._answers):
            if descriptor is not None:
                if descriptor == self._answers:
                    asyncio.get_running_loop().remove_reader(descriptor)
                os.close(descriptor)
        self._requests = self._answers = None
        self._fail()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        requests_out, requests_in = os.pipe()
        answers_out, answers_in = os.pipe()
        try:
            subprocess.run(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), str(self._directory)],
                stdin=requests_out,
                stdout=answers_in,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                timeout=_LAUNCH_TIMEOUT,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            os.close(requests_in)
            os.close(answers_out)
            raise OSError(getattr(error, "errno", None), f"the fork server could not be started: {error}") from error
        finally:
            os.close(requests_out)
            os.close(answers_in)
        self._requests = requests_in
        loop.call_soon_threadsafe(self._listen, loop, answers_out)

    def _listen(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        if self._answers is not None:
            loop.remove_reader(self._answers)
            os.close(self._answers)
        self._answers, self._rest = descriptor, b""
        loop.add_reader(descriptor, self._on_answers, loop, descriptor)

    def _on_answers(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        content = os.read(descriptor, _READ)
        if not content:
            # Nothing is left that could answer.
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._answers = None
            self._fail()
            return
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            number, word, *details = line.decode().split()
            answer = self._waiting.pop(int(number), None)
            if answer is not None and not answer.done():
                answer.set_result(Answer(word, tuple(details)))

    def _fail(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_result(Answer(requests.DIED))


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
