"""All figures, in order of measurement. Each module has `TITLE`, `LIMIT` (seconds) and `run(bench)`."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from benchmarks.figures import (
    arrays,
    backlog,
    control_plane,
    docker_rate,
    download,
    launch,
    memory,
    million,
    planning,
    process_rate,
    submits,
)

ALL: Mapping[str, ModuleType] = {
    "planning": planning,
    "submits": submits,
    "control_plane": control_plane,
    "backlog": backlog,
    "arrays": arrays,
    "launch": launch,
    "docker_rate": docker_rate,
    "process_rate": process_rate,
    "memory": memory,
    "million": million,
    "download": download,
}
