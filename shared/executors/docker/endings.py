"""Find facts about a container's end beyond its exit code, while the engine still has it."""

from __future__ import annotations

import contextlib
import posixpath
import signal
from collections.abc import Mapping
from typing import Any

import orjson

from shared import clock, errors
from shared.executors import types
from shared.executors.docker import client
from shared.executors.docker.inside import elf, program

SHELL = "/bin/sh"
_LINKS = 8  #: followed at most
_HEADER = 64 * 1024  #: bytes of a program that are read
_SETTLED = 0.1  #: seconds of events after now to wait for: the engine's clock is not quite ours


async def circumstances(
    engine: client.Engine, identifier: str, *, image: bool, ahead: float = 0.0
) -> types.Circumstances:
    """Find the facts for `base.Executor.circumstances`. `ahead`: seconds by which the engine's clock is ahead of ours."""
    return types.Circumstances(
        shell=await _why_no_shell(engine, identifier) if image else None,
        commands=await _commands(engine, identifier, until=clock.now() + ahead + _SETTLED),
    )


async def _commands(engine: client.Engine, identifier: str, *, until: float) -> tuple[str, ...]:
    filters = orjson.dumps({"type": ["container"], "container": [identifier], "event": ["kill"]}).decode()
    parameters = {"since": "0", "until": f"{until:.9f}", "filters": filters}
    commands: list[str] = []
    # An engine whose clock was set meanwhile sends events until then. The events received by now count: the end of a
    # run must not wait for its explanation.
    with contextlib.suppress(errors.NodeUnavailable):
        async with engine.stream(
            "GET", "events", params=parameters, total=client.CONNECT_TIMEOUT, silence=None
        ) as messages:
            async for message in messages:
                named = command(message.get("Actor", {}).get("Attributes", {}))
                if named not in commands:
                    commands.append(named)
    return tuple(commands)


def command(attributes: Mapping[str, Any]) -> str:
    """Return the command that sent the signal of an engine's event."""
    number = str(attributes.get("signal", ""))
    try:
        name = signal.Signals(int(number)).name if number.isdigit() else number
    except ValueError:
        name = f"signal {number}"
    return "docker stop" if name in (program.STOP_SIGNAL, "SIGTERM") else f"docker kill ({name})"


async def _why_no_shell(engine: client.Engine, identifier: str) -> str | None:
    file = await _resolved(engine, identifier, SHELL)
    if file is None:
        return "has no /bin/sh, which is needed to run the command"
    if not file.is_regular or not file.mode & 0o111:
        return "has a /bin/sh that is not executable"
    header = elf.parse(file.content)
    if header is None:
        return None if file.content.startswith(b"#!") else "has a /bin/sh that is not a program"
    _, info = await engine.call("GET", "info")
    if not header.runs_on(str(info.get("Architecture", header.machine))):
        return f"is for another processor: its /bin/sh is one for {header.machine}, the node is {info['Architecture']}"
    if header.loader and await _resolved(engine, identifier, header.loader) is None:
        return f"has a /bin/sh that needs {client.words(header.loader)}, which is missing"
    return None


async def _resolved(engine: client.Engine, identifier: str, path: str) -> client.ImageFile | None:
    """Return a file of a container, following links at its last component; the engine follows those of the folders."""
    for _ in range(_LINKS):
        file = await engine.read_file(identifier, path, limit=_HEADER)
        if file is None or not file.link:
            return file
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), file.link))
    return None
