"""Results of a reload, as one small file per process below the data directory."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """The settings that changed, or why none did."""

    changed: Sequence[str] = ()
    error: str | None = None


def report(data_dir: Path, outcome: Outcome) -> None:
    """Write the outcome for `godocker reload`, if `godocker up` keeps such a directory."""
    run = data_dir / "run"
    if not data_dir.is_absolute() or not run.is_dir():
        return
    file = _file(data_dir, os.getpid())
    draft = file.with_suffix(".new")
    # A full disk must not end a service after a successful reload.
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, exist_ok=True)
        draft.write_text(json.dumps(asdict(outcome)))
        draft.replace(file)


def take(data_dir: Path, pid: int) -> Outcome | None:
    """Return and remove the outcome of one process; None if it has not reported yet."""
    file = _file(data_dir, pid)
    try:
        outcome = Outcome(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    file.unlink(missing_ok=True)
    return outcome


def _file(data_dir: Path, pid: int) -> Path:
    return data_dir / "run" / "reloads" / f"{pid}.json"
