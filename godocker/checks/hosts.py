"""Look at the Docker hosts, or at this machine where tasks are its processes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from godocker import engines, surroundings
from godocker.checks import clocks, findings
from shared import clock, errors
from shared.settings import Node, Settings

#: Fixes the escapes of 2025 (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).
_SAFE_RUNC = (1, 2, 8)
_PROTECTED_HARDLINKS = Path("/proc/sys/fs/protected_hardlinks")


def look(settings: Settings) -> list[findings.Finding]:
    """All hosts, one after the other."""
    if settings.executor == "docker":
        return [finding for node in settings.docker_nodes for finding in _engine(node)]
    if settings.executor == "process":
        return _processes(settings)
    return [findings.warning("executor", "simulated: tasks are only pretended to run")]


def _engine(node: Node) -> list[findings.Finding]:
    part = f"engine {node.name}"
    try:
        version = engines.ask(node, "/version")
        asked_at = clock.now()
        info = engines.ask(node, "/info")
        answered_at = clock.now()
    except errors.NodeUnavailable as error:
        return [findings.bad(part, str(error))]
    found = [
        findings.well(part, f"answers at {node.url}, version {version.get('Version')}"),
        judge_runc(part, version),
        judge_live_restore(part, info),
        judge_tls(part, node),
        judge_limits(part, info),
    ]
    if theirs := _seconds(info.get("SystemTime")):
        found.append(clocks.judge(f"engine {node.name}", theirs, asked_at, answered_at))
    return found


def judge_runc(part: str, version: Mapping[str, Any]) -> findings.Finding:
    components = {item.get("Name"): str(item.get("Version")) for item in version.get("Components") or ()}
    runc = components.get("runc")
    if runc is None:
        return findings.warning(part, "does not say which runc it uses")
    if findings.version(runc) < _SAFE_RUNC:
        wanted = ".".join(map(str, _SAFE_RUNC))
        return findings.warning(
            part,
            f"runc {runc} is older than {wanted}: see whether your distribution has ported back the fixes of "
            "CVE-2024-21626, CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881",
        )
    return findings.well(part, f"runc {runc}")


def judge_live_restore(part: str, info: Mapping[str, Any]) -> findings.Finding:
    if info.get("LiveRestoreEnabled"):
        return findings.well(part, "live-restore on: tasks outlive a restart of the engine")
    return findings.warning(
        part, 'live-restore off: tasks end with the engine. Set "live-restore": true in daemon.json'
    )


def judge_tls(part: str, node: Node) -> findings.Finding:
    if node.url.startswith("unix://"):
        return findings.well(part, "reached by its socket")
    if node.tls_ca or node.url.startswith("https://"):
        return findings.well(part, "reached with TLS")
    host = urlsplit(node.url).hostname or ""
    if surroundings.is_loopback(host):
        return findings.warning(part, "reached without TLS on this machine: every local user can be root through it")
    return findings.bad(part, "reached without TLS: who gets to its port is root on that host")


def judge_limits(part: str, info: Mapping[str, Any]) -> findings.Finding:
    cgroup = f"cgroup v{info.get('CgroupVersion', '1')} ({info.get('CgroupDriver', 'unknown')})"
    names = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "cpu"}
    missing = [what for name, what in names.items() if info.get(name) is False]
    if missing:
        return findings.bad(part, f"{cgroup} cannot limit {', '.join(missing)}")
    if info.get("SwapLimit") is False:
        return findings.warning(part, f"{cgroup} cannot limit swap: a task may use more than its memory")
    return findings.well(part, f"{cgroup}; memory, cpu and processes are limited")


def _processes(settings: Settings) -> list[findings.Finding]:
    part = "executor"
    found = [findings.warning(part, "tasks run as processes of this machine, without isolation")]
    if not surroundings.is_loopback(settings.host) and not settings.process_public:
        found.append(findings.bad(part, f"and are served on {settings.host} without process_public"))
    if closed := surroundings.closed_parents(settings.shared_dir):
        found.append(findings.bad(part, f"other users cannot pass through {closed[0]} to their task directories"))
    if _PROTECTED_HARDLINKS.exists() and _PROTECTED_HARDLINKS.read_text().strip() == "0":
        found.append(findings.bad(part, "fs.protected_hardlinks is 0: tasks can link files of others into their own"))
    return found


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
