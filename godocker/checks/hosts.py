"""Checks of the Docker hosts, or of this machine if tasks run as its processes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from godocker.checks import clocks, facts, findings, probe
from godocker.docker import capacity, engine_probe, twins
from godocker.local import environment
from shared import clock, errors
from shared.settings import Node, Settings
from shared.system import hosts

_PROTECTED_HARDLINKS = Path("/proc/sys/fs/protected_hardlinks")


def check(settings: Settings, added: Sequence[Node] = ()) -> list[findings.Finding]:
    """Check all hosts, one after the other. `added` are hosts added with `godocker node add`."""
    if settings.executor == "docker":
        nodes = hosts.together(settings.docker_nodes, added)
        return [
            *(finding for node in nodes for finding in _engine(node, settings.shared_dir)),
            *(
                findings.bad(f"engine {other}", f"is the same engine as node {one}: remove one of them")
                for one, other in twins.pairs(nodes)
            ),
        ]
    if settings.executor == "process":
        return _processes(settings)
    return [findings.warning("executor", "simulated: tasks do not really run")]


def _engine(node: Node, shared_dir: Path) -> list[findings.Finding]:
    part = f"engine {node.name}"
    try:
        version = engine_probe.ask(node, "/version")
        asked_at = clock.now()
        info = engine_probe.ask(node, "/info")
        answered_at = clock.now()
    except errors.NodeUnavailable as error:
        return [findings.bad(part, str(error))]
    results = [
        findings.well(part, f"answers at {node.url}, version {version.get('Version')}"),
        check_tls(part, node),
        *facts.check(part, version, info),
        *(findings.warning(part, sentence) for sentence in capacity.missing(node, info)),
    ]
    if theirs := _seconds(info.get("SystemTime")):
        results.append(clocks.check(f"engine {node.name}", theirs, asked_at, answered_at))
    return [*results, *probe.check(part, node, shared_dir)]


def check_tls(part: str, node: Node) -> findings.Finding:
    if node.url.startswith("unix://"):
        return findings.well(part, "reached through its socket")
    if node.tls_ca or node.url.startswith("https://"):
        return findings.well(part, "reached with TLS")
    host = urlsplit(node.url).hostname or ""
    if environment.is_loopback(host):
        return findings.warning(
            part, "reached without TLS on this machine: every local user can become root through it"
        )
    return findings.bad(part, "reached without TLS: anyone who reaches its port is root on that host")


def _processes(settings: Settings) -> list[findings.Finding]:
    part = "executor"
    results = [findings.warning(part, "tasks run as processes of this machine, without isolation")]
    if not environment.is_loopback(settings.host) and not settings.process_public:
        results.append(findings.bad(part, f"the gateway listens on {settings.host}, but process_public is not set"))
    if closed := environment.closed_parents(settings.shared_dir):
        results.append(
            findings.bad(part, f"other users cannot enter {closed[0]} and so not reach their task directories")
        )
    if _PROTECTED_HARDLINKS.exists() and _PROTECTED_HARDLINKS.read_text().strip() == "0":
        results.append(
            findings.bad(
                part, "fs.protected_hardlinks is 0: tasks can hard-link files of other users into their directories"
            )
        )
    return results


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
