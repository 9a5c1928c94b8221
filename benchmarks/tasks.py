"""Tasks that the benchmarks submit."""

from __future__ import annotations

IMAGE = "busybox:latest"


def typical(command: str = "/bin/true", *, cpu: float = 1, ram: float = 0.1) -> dict[str, object]:
    """Return a task as clients submit it, including fields that they leave empty."""
    return {
        "meta": {"name": "benchmark", "description": "one of many", "tags": ["benchmark"]},
        "requirements": {"cpu": cpu, "ram": ram, "array": {"values": None}, "label": None, "tasks": []},
        "container": {"image": IMAGE, "volumes": [], "network": False, "root": False},
        "command": {"interactive": False, "cmd": command},
        "notify": {"email": False},
    }
