"""Kinds of device names: paths below `/dev`, and NVIDIA's names of GPUs (`0`, `GPU-8f3c…`)."""

from __future__ import annotations

from collections.abc import Sequence


def paths(gpus: Sequence[str]) -> list[str]:
    """Return the names that are device paths."""
    return [name for name in gpus if name.startswith("/dev/")]


def names(gpus: Sequence[str]) -> list[str]:
    """Return the names that are NVIDIA's."""
    return [name for name in gpus if not name.startswith("/dev/")]
