"""Look at the Docker hosts, or at this machine where tasks are its processes."""

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


def look(settings: Settings, added: Sequence[Node] = ()) -> list[findings.Finding]:
    """All hosts, one after the other, with those that were `added` while the system ran."""
    if settings.executor == "docker":
        nodes = hosts.together(settings.docker_nodes, added)
        return [
            *(finding for node in nodes for finding in _engine(node, settings.shared_dir)),
            *(
                findings.bad(f"engine {other}", f"is the same engine as node {one}: remove one of the two")
                for one, other in twins.pairs(nodes)
            ),
        ]
    if settings.executor == "process":
        return _processes(settings)
    return [findings.warning("executor", "simulated: tasks are only pretended to run")]


def _engine(node: Node, shared_dir: Path) -> list[findings.Finding]:
    part = f"engine {node.name}"
    try:
        version = engine_probe.ask(node, "/version")
        asked_at = clock.now()
        info = engine_probe.ask(node, "/info")
        answered_at = clock.now()
    except errors.NodeUnavailable as error:
        return [findings.bad(part, str(error))]
    found = [
        findings.well(part, f"answers at {node.url}, version {version.get('Version')}"),
        judge_tls(part, node),
        *facts.judge(part, version, info),
        *(findings.warning(part, sentence) for sentence in capacity.surplus(node, info)),
    ]
    if theirs := _seconds(info.get("SystemTime")):
        found.append(clocks.judge(f"engine {node.name}", theirs, asked_at, answered_at))
    return [*found, *probe.look(part, node, shared_dir)]


def judge_tls(part: str, node: Node) -> findings.Finding:
    if node.url.startswith("unix://"):
        return findings.well(part, "reached by its socket")
    if node.tls_ca or node.url.startswith("https://"):
        return findings.well(part, "reached with TLS")
    host = urlsplit(node.url).hostname or ""
    if environment.is_loopback(host):
        return findings.warning(part, "reached without TLS on this machine: every local user can be root through it")
    return findings.bad(part, "reached without TLS: who gets to its port is root on that host")


def _processes(settings: Settings) -> list[findings.Finding]:
    part = "executor"
    found = [findings.warning(part, "tasks run as processes of this machine, without isolation")]
    if not environment.is_loopback(settings.host) and not settings.process_public:
        found.append(findings.bad(part, f"and are served on {settings.host} without process_public"))
    if closed := environment.closed_parents(settings.shared_dir):
        found.append(findings.bad(part, f"other users cannot pass through {closed[0]} to their task directories"))
    if _PROTECTED_HARDLINKS.exists() and _PROTECTED_HARDLINKS.read_text().strip() == "0":
        found.append(findings.bad(part, "fs.protected_hardlinks is 0: tasks can link files of others into their own"))
    return found


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
