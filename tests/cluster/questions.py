"""Requests to an engine that may be dead, hang or die while it answers, without leaking connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any

TIMEOUT = 5.0  #: seconds


class NoAnswer(Exception):
    """The engine did not answer, or not as an engine."""


def ask(path_of_socket: Path, question: str) -> Any:
    """Return the engine's answer to GET `question`; None for 404. Raises `NoAnswer`."""
    connection = _Connection(path_of_socket)
    with contextlib.closing(connection):
        try:
            connection.request("GET", question)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise NoAnswer(f"{answer.status}: {content.decode(errors='replace')}")
            return json.loads(content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from None


class _Connection(http.client.HTTPConnection):
    # Not the HTTP client used elsewhere: it does not close a socket that could not connect.
    def __init__(self, path_of_socket: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = str(path_of_socket)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
