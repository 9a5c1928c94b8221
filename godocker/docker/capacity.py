"""Comparison of a node's configured resources with those of its engine; pure except for local device files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.executors import devices
from shared.executors.docker import gpus
from shared.settings import Node
from shared.units.sizes import GB

_TOLERATED = 1.02  #: factor; firmware and the kernel keep some of the installed memory


def missing(node: Node, info: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each configured resource that the engine lacks. `info` is the engine's answer to `GET /info`."""
    sentences = []
    cores, memory = info.get("NCPU"), info.get("MemTotal")
    if node.cpus and isinstance(cores, int) and 0 < cores < node.cpus:
        sentences.append(f"cpus: {node.cpus:g} are configured, but the engine has {cores}")
    if node.memory and isinstance(memory, int) and 0 < memory * _TOLERATED < node.memory * GB:
        sentences.append(f"memory: {node.memory:g} GB are configured, but the engine has {memory / GB:.1f} GB")
    return [*sentences, *_missing_gpus(node, info)]


def _missing_gpus(node: Node, info: Mapping[str, Any]) -> list[str]:
    configured = devices.names(node.gpus)
    reported = gpus.of_engine(info)
    lacking = [name for name in configured if name not in reported] if reported else []
    if configured and not reported and "nvidia" not in (info.get("Runtimes") or {}):
        # No proof: an engine may find NVIDIA's hook without the runtime.
        lacking = configured
    if node.url.startswith("unix://"):
        lacking += [path for path in devices.paths(node.gpus) if not Path(path).exists()]
    return [f"gpus: the engine does not seem to have {', '.join(lacking)}"] if lacking else []
