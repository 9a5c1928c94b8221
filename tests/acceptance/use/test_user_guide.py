"""Runs the examples of the user guide in order against a real system, and compares their output."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.api.admission import submission
from services.api.wire.submission import TaskIn
from shared.executors.types import Feature
from shared.models.project import Project
from shared.settings import Settings
from tests.support import samples
from tests.support.harness.system import System, running_system
from tests.support.servers.mailbox import Mailbox

README = Path(__file__).parents[3] / "README.md"
PAGE = Path(__file__).parents[3] / "docs" / "user-guide.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
MARK = "=== block "


@dataclass(frozen=True)
class Example:
    """A script of the page, and its expected output lines (`…` matches anything)."""

    number: int
    section: str
    script: str
    prints: tuple[str, ...]


def blocks() -> Iterator[tuple[str, str, str]]:
    """Yield section, language and text of each block."""
    text = PAGE.read_text()
    for found in BLOCK.finditer(text):
        section = [heading[1] for heading in SECTION.finditer(text, 0, found.start())][-1]
        yield section, found[1], found[2]


def examples() -> list[Example]:
    made: list[Example] = []
    for section, language, text in blocks():
        if language == "sh":
            made.append(Example(len(made), section, text, ()))
        elif language == "output":
            before = made.pop()
            assert before.section == section
            made.append(Example(before.number, section, before.script, tuple(text.splitlines())))
    return made


def test_every_block_is_run_or_checked() -> None:
    assert {language for _, language, _ in blocks()} == {"sh", "output", "json"}


@pytest.mark.parametrize("text", [text for _, language, text in blocks() if language == "json"])
def test_a_task_of_the_page_is_accepted_where_there_is_all_that_it_asks_for(text: str) -> None:
    submission.admit(
        TaskIn.model_validate(json.loads(text)),
        owner=samples.user(),
        settings=Settings(),
        features=frozenset(Feature),
        now=0.0,
        project=Project(id="genomics", members=["alice"]),
    )


def prints(expected: str, output: str) -> bool:
    """Return whether a line of output matches the page."""
    pattern = re.sub(r"([\[\]?*])", r"[\1]", expected).replace("…", "*")
    return any(fnmatch.fnmatchcase(line, pattern) for line in output.splitlines())


def first_task(system: System) -> str:
    """The first task of the README, with this system's address and key, and a wait before its output is read."""
    text = README.read_text().split("## A first task")[1]
    block = next(found for found in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "curl" in found)
    status = 'curl -s $API/task/$TASK/status -H "Authorization: Bearer $TOKEN"'
    ready = f'until {status} | grep -q \'"primary":"over"\'; do sleep 0.2; done\n'
    *lines, last = block.splitlines(keepends=True)
    assert "$TASK/log" in last
    script = "".join([*lines, ready, last])
    return script.replace("http://127.0.0.1:6543", system.base_url).replace("THE KEY", system.admin_key)


@pytest.mark.stores
@pytest.mark.timeout(240)
def test_the_examples_run_one_after_the_other_and_print_what_the_page_shows(tmp_path: Path, mailbox: Mailbox) -> None:
    values = {
        **mailbox.settings(),
        "process_gpus": ["0"],
        "poll_seconds": 0.2,
        "volumes": [{"name": "home", "acl": "rw"}],
    }
    environment = {
        f"GODOCKER_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
    all_examples = examples()
    with running_system(environment=environment) as system:
        first = subprocess.run(
            ["sh", "-euc", first_task(system)], capture_output=True, text=True, timeout=60, check=True
        )
        assert first.stdout.endswith("Hello from task 1\n")
        home = system.data_dir.parent / "home"  # tasks of other users can pass through
        home.mkdir()
        home.chmod(0o777)
        key = system.add_user("alice", "--home", str(home))
        script = tmp_path / "guide.sh"
        script.write_text(
            "set -eu\n"
            + "".join(f"echo; echo {shlex.quote(MARK + str(one.number))}\n{one.script}" for one in all_examples)
        )
        folder = tmp_path / "work"
        folder.mkdir()
        done = subprocess.run(
            ["sh", str(script)],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "API": f"{system.base_url}/api/1.0",
                "LOGIN": "alice",
                "KEY": key,
                "no_proxy": "*",
            },
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    parts = [part.partition("\n") for part in done.stdout.split(MARK)[1:]]
    printed = {int(number): text for number, _, text in parts}
    assert done.returncode == 0, f"in block {max(printed, default=None)}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    wrong = [
        f"{one.section}: {line!r} is not in {printed[one.number]!r}"
        for one in all_examples
        for line in one.prints
        if not prints(line, printed[one.number])
    ]
    assert not wrong, "\n".join(wrong)
    assert "alice@example.org" in str([letter["To"] for letter in mailbox.letters])
