"""The tasks that are sent."""

from __future__ import annotations

IMAGE = "busybox:latest"


def typical(command: str = "/bin/true", *, cpu: float = 1, ram: float = 0.1) -> dict[str, object]:
    """A task as the clients send it, with the fields they leave empty."""
    return {
        "meta": {"name": "benchmark", "description": "one of many", "tags": ["benchmark"]},
        "requirements": {"cpu": cpu, "ram": ram, "array": {"values": None}, "label": None, "tasks": []},
        "container": {"image": IMAGE, "volumes": [], "network": False, "root": False},
        "command": {"interactive": False, "cmd": command},
        "notify": {"email": False},
    }
