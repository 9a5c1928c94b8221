"""The devices of a container: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.executors import devices

NVIDIA = "NVIDIA_VISIBLE_DEVICES"
_NO_DEVICES = "void"

_KINDS = ("gpu", "nvidia-gpu")  #: of generic resources, as engines are configured with (`--node-generic-resource`)
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$|^/dev/[A-Za-z0-9/_-]{1,60}$")


def paths(gpus: Sequence[str]) -> list[dict[str, str]]:
    """Return `HostConfig.Devices`."""
    return [{"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rw"} for path in devices.paths(gpus)]


def requests(gpus: Sequence[str]) -> list[dict[str, Any]]:
    """Return `HostConfig.DeviceRequests`, the GPUs known to the engine's NVIDIA runtime."""
    names = devices.names(gpus)
    return [{"Driver": "nvidia", "DeviceIDs": names, "Capabilities": [["gpu"]]}] if names else []


def of_container(host_config: Mapping[str, Any]) -> list[str]:
    """Return the devices that `paths` and `requests` gave a container, from its `HostConfig`."""
    named = [name for request in host_config.get("DeviceRequests") or () for name in request.get("DeviceIDs") or ()]
    return [*named, *(device["PathOnHost"] for device in host_config.get("Devices") or ())]


def environment(gpus: Sequence[str]) -> dict[str, str]:
    """
    Return the variable that selects the NVIDIA devices, also for a run without any: images request all devices by it, and get
    them where the NVIDIA runtime is the engine's default. `CUDA_VISIBLE_DEVICES` is not set: inside, devices count from 0.
    """
    return {NVIDIA: ",".join(devices.names(gpus)) or _NO_DEVICES}


def of_engine(info: Mapping[str, Any]) -> list[str]:
    """Return the GPUs that an engine is configured with by name, from its answer to `GET /info`."""
    named = (resource.get("NamedResourceSpec") or {} for resource in info.get("GenericResources") or [])
    return [
        str(spec["Value"])
        for spec in named
        if str(spec.get("Kind")).lower() in _KINDS and _NAME.fullmatch(str(spec.get("Value")))
    ]
