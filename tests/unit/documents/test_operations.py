"""The operator's documents are true: commands parse, routes exist, links lead somewhere, each alert has its section."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from godocker import cli
from services.api import app
from services.api.http import routers
from shared.config.live import LIVE

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
OPERATIONS, PREPARING = DOCS / "operations.md", DOCS / "preparing-a-host.md"
PAGES = [
    OPERATIONS,
    PREPARING,
    *sorted(DOCS.glob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "tests/README.md",
]

_BLOCK = re.compile(r"^ *```console\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_OPEN = ("/health", "/metrics")  #: routes of every service; the second is not in the document
#: What a command may be: ours, or a program that everybody knows.
_PROGRAMS = frozenset(
    [
        *("API", "TOKEN", "cd", "chmod", "curl", "df", "docker", "du", "grep", "iptables", "kill", "make", "mkdir"),
        *("for", "openssl", "ping", "printf", "ps", "rm", "rsync", "systemctl", "tar", "timedatectl", "umask"),
    ]
)


def commands(page: Path) -> Iterator[str]:
    for block in _BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            assert line.strip().startswith("$ "), f"{page.name}: {line} is neither a command nor its output"
            yield line.strip().removeprefix("$ ")


def all_commands() -> list[str]:
    return [command for page in (OPERATIONS, PREPARING) for command in commands(page)]


@pytest.mark.parametrize("command", sorted({*all_commands()}))
def test_a_command_is_one_and_its_program_is_known(command: str) -> None:
    subprocess.run(["sh", "-n", "-c", command], check=True, capture_output=True)
    program = re.split(r"[ =]", command)[0]
    if program.startswith("./"):
        assert (ROOT / "deploy" / program).exists()
    else:
        assert program.removeprefix(".venv/bin/") == "godocker" or program in _PROGRAMS


def ours() -> list[str]:
    """The `godocker …` lines, those inside a service's container too."""
    found = []
    for command in all_commands():
        match = re.search(r"(?:^|^docker compose (?:exec|run) .*?|\.venv/bin/)\bgodocker (.+)", command)
        if match and not command.startswith(("openssl", "docker ps")):
            found.append(re.split(r" [<>|] ?", match[1])[0])
    return found


@pytest.mark.parametrize("line", sorted({*ours()}))
def test_our_commands_take_what_is_written(line: str) -> None:
    command: Any = typer.main.get_command(cli.app)
    words = shlex.split(line)
    parent = None
    while hasattr(command, "commands"):
        name, words = words[0], words[1:]
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    context = command.make_context(command.name, words, parent=parent)  # raises on what it does not know
    context.close()


def routes() -> list[tuple[str, str]]:
    """Method and path of each curl."""
    found = []
    for command in all_commands():
        if "curl" not in command:
            continue
        path = re.search(r"(?:\$API|http://[^/\s]+)(/[^\s'\"]*)", command)
        assert path, command
        method = re.search(r"-X (\w+)", command)
        sends = " -d " in command
        prefix = routers.API if "$API/" in command else ""
        found.append((method[1] if method else "POST" if sends else "GET", prefix + path[1]))
    return found


@functools.cache
def documented() -> dict[str, Any]:
    return dict(app.document().openapi()["paths"])


@pytest.mark.parametrize(("method", "path"), sorted({*routes()}))
def test_what_is_asked_by_curl_is_a_route(method: str, path: str) -> None:
    matching = [
        template
        for template, methods in documented().items()
        if method.lower() in methods and re.fullmatch(re.sub(r"\\{(\w+)\\}", "[^/]+", re.escape(template)), path)
    ]
    assert matching or path in _OPEN, f"{method} {path}"


def anchors(page: Path) -> set[str]:
    """As those who show Markdown make them from the headings."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def alerts() -> list[dict[str, Any]]:
    content = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_has_its_section_in_the_runbook(alert: dict[str, Any]) -> None:
    name, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert ROOT / name == OPERATIONS
    assert anchor in anchors(OPERATIONS)


def test_services_that_compose_is_asked_for_are_there() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "docker-compose.yml").read_text())["services"]
    for command in all_commands():
        words = shlex.split(command)
        if words[:2] != ["docker", "compose"] or words[2] not in ("exec", "run", "ps", "logs", "kill", "stop", "build"):
            continue
        named = [word for word in words[3:] if word in services or word in ("redis", "mongo")]
        assert named or words[3:] == []
        assert {*named} <= {*services}


def test_the_settings_that_can_change_are_all_named_and_no_others() -> None:
    section = OPERATIONS.read_text().split("### Changing settings")[1].split("### Logs")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "`" in line]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    weights = {name for name in LIVE if re.fullmatch(r"fairshare_\w+_weight", name)}
    assert "`fairshare_*_weight`" in section
    assert named == LIVE - weights


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_the_certificates_are_made_as_written_and_are_those_that_are_needed(tmp_path: Path) -> None:
    made = [
        command
        for command in commands(PREPARING)
        if command.startswith(("openssl", "printf")) or command == "chmod 400 ca-key.pem server-key.pem key.pem"
    ]
    assert len(made) == 11
    for command in made:
        # Smaller keys are made faster, and nothing else is different.
        subprocess.run(["sh", "-ec", command.replace(" 4096", " 2048")], cwd=tmp_path, check=True, capture_output=True)
    for name, key, purpose in (
        ("server-cert.pem", "server-key.pem", "sslserver"),
        ("cert.pem", "key.pem", "sslclient"),
    ):
        ssl.create_default_context(cafile=str(tmp_path / "ca.pem")).load_cert_chain(tmp_path / name, tmp_path / key)
        done = subprocess.run(
            ["openssl", "verify", "-CAfile", "ca.pem", "-purpose", purpose, name], cwd=tmp_path, capture_output=True
        )
        assert done.returncode == 0, done
