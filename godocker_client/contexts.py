"""
The servers that somebody is logged in to, by name: one file that nobody else can read.

`GODOCKER_URL` and `GODOCKER_TOKEN` stand above it, for jobs and scripts.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from godocker_client.errors import ClientError

URL, TOKEN, NAME = "GODOCKER_URL", "GODOCKER_TOKEN", "GODOCKER_CONTEXT"


@dataclass(frozen=True, slots=True)
class Context:
    """A server and how to log in to it. `token` is the last one that was used."""

    url: str
    user: str | None = None
    apikey: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Contexts:
    """All of them, and the name of the one that is used."""

    current: str | None
    by_name: Mapping[str, Context]


def path() -> Path:
    """`$XDG_CONFIG_HOME/godocker/contexts.json` (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "godocker" / "contexts.json"


def load() -> Contexts:
    """Read the file. Raises `ClientError` where it cannot be read or is none of ours."""
    try:
        content = json.loads(path().read_text())
        return Contexts(content["current"], {name: Context(**one) for name, one in content["contexts"].items()})
    except FileNotFoundError:
        return Contexts(None, {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClientError(f"{path()} cannot be read: {error}") from error


def save(contexts: Contexts) -> None:
    """Write the file as a whole, for its owner alone. Raises `ClientError`."""
    content = {"current": contexts.current, "contexts": {name: asdict(one) for name, one in contexts.by_name.items()}}
    file = path()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=file.parent)  # 0600
        try:
            with os.fdopen(descriptor, "w") as out:
                json.dump(content, out, indent=1)
            os.replace(draft, file)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
            raise
    except OSError as error:
        raise ClientError(f"{file} cannot be written: {error}") from error


def used() -> tuple[str | None, Context]:
    """Return the context that commands use, with its name if it is from the file. Raises `ClientError` where there is none."""
    if url := os.environ.get(URL):
        return None, Context(url=url, token=os.environ.get(TOKEN))
    contexts = load()
    name = os.environ.get(NAME) or contexts.current
    if name is None or name not in contexts.by_name:
        raise ClientError(
            f"there is no context {name}: see `godocker context`"
            if name
            else "you are not logged in: `godocker login URL`"
        )
    found = contexts.by_name[name]
    token = os.environ.get(TOKEN)
    return (None, replace(found, token=token, apikey=None)) if token else (name, found)


def remember_token(name: str, token: str | None) -> None:
    """Keep the last token of a context, so that the next command need not log in."""
    contexts = load()
    if name in contexts.by_name and contexts.by_name[name].token != token:
        save(Contexts(contexts.current, {**contexts.by_name, name: replace(contexts.by_name[name], token=token)}))
