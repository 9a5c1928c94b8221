"""What a device's name means: a path below `/dev` is one, every other name (`0`, `GPU-8f3c…`) is what NVIDIA calls a GPU."""

from __future__ import annotations

from collections.abc import Sequence


def paths(gpus: Sequence[str]) -> list[str]:
    return [name for name in gpus if name.startswith("/dev/")]


def names(gpus: Sequence[str]) -> list[str]:
    return [name for name in gpus if not name.startswith("/dev/")]
