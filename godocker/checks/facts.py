"""Pure checks of a Docker host, from its engine's answers to `GET /version` and `GET /info`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from godocker.checks import findings
from shared.rules import known_faults

_OLDEST_API = (1, 41)  #: of Docker 20.10, the first with cgroup v2
_SLOW_DRIVERS = ("vfs", "devicemapper", "aufs")
_LOCAL = ("127.0.0.0/8", "::1/128")  #: registries on the host itself, which every engine accepts without TLS


def check(part: str, version: Mapping[str, Any], info: Mapping[str, Any]) -> list[findings.Finding]:
    """Return the findings of all checks in this module. `part` names the engine in the report."""
    return [
        check_api(part, version),
        check_runc(part, version),
        *check_faults(part, version, info),
        check_live_restore(part, info),
        check_user_namespaces(part, info),
        check_seccomp(part, info),
        check_storage(part, info),
        check_limits(part, info),
        check_registries(part, info),
    ]


def check_api(part: str, version: Mapping[str, Any]) -> findings.Finding:
    api = str(version.get("ApiVersion", ""))
    if findings.version(api) < _OLDEST_API:
        return findings.bad(part, f"API version {api or 'unknown'} is older than 1.41: install Docker 20.10 or later")
    return findings.well(part, f"API version {api}")


def check_runc(part: str, version: Mapping[str, Any]) -> findings.Finding:
    components = {item.get("Name"): str(item.get("Version")) for item in version.get("Components") or ()}
    runc = components.get("runc")
    if runc is None:
        return findings.warning(part, "does not report its version of runc")
    for fault in known_faults.of(known_faults.RUNC, runc):
        return findings.warning(part, str(fault))
    return findings.well(part, f"runc {runc}")


def check_faults(part: str, version: Mapping[str, Any], info: Mapping[str, Any]) -> list[findings.Finding]:
    plugins = (info.get("Plugins") or {}).get("Authorization")
    closed = () if plugins else (known_faults.NO_PLUGINS,)
    return findings.faults(part, known_faults.of(known_faults.DOCKER, str(version.get("Version", "")), closed=closed))


def check_live_restore(part: str, info: Mapping[str, Any]) -> findings.Finding:
    if info.get("LiveRestoreEnabled"):
        return findings.well(part, "live-restore on: tasks survive a restart of the engine")
    return findings.warning(
        part, 'live-restore off: tasks end when the engine stops. Set "live-restore": true in daemon.json'
    )


def check_user_namespaces(part: str, info: Mapping[str, Any]) -> findings.Finding:
    for name in ("userns", "rootless"):
        if _has_option(info, name):
            return findings.bad(
                part,
                f"{name} on: tasks would run with other uids than their users and could not write to their directories. "
                "Use an engine that runs as root, without userns-remap",
            )
    return findings.well(part, "user namespaces off: tasks run with the uids of their users")


def check_seccomp(part: str, info: Mapping[str, Any]) -> findings.Finding:
    if _has_option(info, "seccomp"):
        return findings.well(part, "seccomp on")
    return findings.warning(part, "seccomp off: tasks may make any system call. Use a kernel with seccomp")


def check_storage(part: str, info: Mapping[str, Any]) -> findings.Finding:
    driver = str(info.get("Driver", "unknown"))
    if driver in _SLOW_DRIVERS:
        return findings.warning(
            part, f"storage driver {driver}: slow and wasteful with many containers. Use overlay2 (daemon.json)"
        )
    return findings.well(part, f"storage driver {driver}")


def check_limits(part: str, info: Mapping[str, Any]) -> findings.Finding:
    cgroup = f"cgroup v{info.get('CgroupVersion', '1')} ({info.get('CgroupDriver', 'unknown')})"
    names = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "cpu"}
    missing = [what for name, what in names.items() if info.get(name) is False]
    if missing:
        return findings.bad(part, f"{cgroup} cannot limit {', '.join(missing)}")
    if info.get("SwapLimit") is False:
        return findings.warning(
            part,
            f"{cgroup} cannot limit swap: tasks can use more than their memory. Boot with swapaccount=1 or without swap",
        )
    return findings.well(part, f"{cgroup}; memory, cpu and processes are limited")


def check_registries(part: str, info: Mapping[str, Any]) -> findings.Finding:
    config = info.get("RegistryConfig") or {}
    open_ranges = [text for text in config.get("InsecureRegistryCIDRs") or () if text not in _LOCAL]
    open_names = [name for name, index in (config.get("IndexConfigs") or {}).items() if index.get("Secure") is False]
    if insecure := [*open_ranges, *open_names]:
        return findings.warning(
            part, f"images of {', '.join(insecure)} are pulled without TLS: an attacker in the network can replace them"
        )
    return findings.well(
        part, "registries are reached only by TLS. GoDocker sends no credentials: pull private images on the host"
    )


def _has_option(info: Mapping[str, Any], name: str) -> bool:
    options: Sequence[str] = info.get("SecurityOptions") or ()
    return any(option.split(",")[0] == f"name={name}" for option in options)
