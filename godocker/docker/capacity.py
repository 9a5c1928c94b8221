"""Compare what a node is said to have with what its engine has: pure, but for devices of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.executors import devices
from shared.executors.docker import gpus
from shared.settings import Node
from shared.units.sizes import GB

_TOLERATED = 1.02  #: of the memory: firmware and the kernel keep some of what was bought


def surplus(node: Node, info: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that the node is said to have and its engine has not. `info`: the answer to `GET /info`."""
    found = []
    cores, memory = info.get("NCPU"), info.get("MemTotal")
    if node.cpus and isinstance(cores, int) and 0 < cores < node.cpus:
        found.append(f"cpus: {node.cpus:g} are configured, and the engine has {cores}")
    if node.memory and isinstance(memory, int) and 0 < memory * _TOLERATED < node.memory * GB:
        found.append(f"memory: {node.memory:g} GB are configured, and the engine has {memory / GB:.1f} GB")
    return [*found, *_missing_gpus(node, info)]


def _missing_gpus(node: Node, info: Mapping[str, Any]) -> list[str]:
    wanted = devices.names(node.gpus)
    told = gpus.of_engine(info)
    missing = [name for name in wanted if name not in told] if told else []
    if wanted and not told and "nvidia" not in (info.get("Runtimes") or {}):
        # Not a proof: an engine may find NVIDIA's hook without the runtime.
        missing = wanted
    if node.url.startswith("unix://"):
        missing += [path for path in devices.paths(node.gpus) if not Path(path).exists()]
    return [f"gpus: the engine does not seem to have {', '.join(missing)}"] if missing else []
