"""Generation of docs/cli.md from the user commands: `python -m godocker.commands.page`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from godocker.commands.common import registry
from godocker_client.documents import WORDS

_WIDTH = 120
PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

_HEAD = """# The command line of users

Generated from the commands by `python -m godocker.commands.page`; do not edit it here. `godocker COMMAND --help` prints
the same. Commands of operators (`up`, `doctor`, `node` …) are in [operations.md](operations.md).

    godocker login http://godocker.lab:8080
    godocker run --image busybox -- echo hello

**Server.** `godocker login` stores the address and your API key in `$XDG_CONFIG_HOME/godocker/contexts.json`, readable
only by you. `GODOCKER_URL` and `GODOCKER_TOKEN` override it, and `GODOCKER_CONTEXT` selects another context. Commands
wait up to 60 seconds (`GODOCKER_PATIENCE`) for a server that does not answer; this never creates a task twice.

**Tasks** are named `12`; `1,3,5-8`; `7[3-9]` or `7.3` for children of array 7 by their index; `last` for your newest
task. Commands that change more than one task ask for confirmation unless you pass `--yes`.

**Output.** Ids are never cut, and in a pipe nothing is cut or coloured. `-o json` prints the objects of the Web API,
`jsonl` one per line. Progress and messages go to standard error. With `GODOCKER_JSON_ERRORS=1` an error is one line
`{"error": {"code", "message", "request_id"}}`.

**Exit codes.**

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed, or the server could not answer |
| 2 | wrong usage |
| 3 | there is no such task or file |
| 4 | not logged in, or not allowed |
| 5 | the server refuses the request; `explain`, `submit --dry-run`: the task can never run |
| 6 | not possible in the state of the task |
| 7 | the server does not answer |
| 124 | `wait`: the timeout is over |
| 125 | `wait`, `run`: the task ended for another reason than its command |
| 130 | Ctrl-C |
| others | `wait`, `run`: the exit code of the task |

**Options in a script.** Lines `#GODOCKER --cpu 4 --ram 8` at the top of a script are options of `submit`;
options on the command line override them.

**Task files** are YAML or JSON, either a task object of the Web API or these fields: WORDS.
"""


def page() -> str:
    """Return the page in Markdown."""
    words = ", ".join(f"`{word}`" for word in WORDS)
    sections = [_wrapped(_HEAD.replace("WORDS", words).rstrip())]
    for title, names in _panels().items():
        sections += [f"## {title}", *(_command(name) for name in names)]
    return "\n\n".join(sections) + "\n"


def _panels() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, entry in registry.ENTRIES.items():
        if entry.module.startswith("user."):
            found.setdefault(entry.panel, []).append(name)
    return found


def _command(name: str) -> str:
    command = registry.load(registry.ENTRIES[name].module)[name]
    arguments = [part for part in command.params if part.param_type_name == "argument"]
    options = [part for part in command.params if part.param_type_name == "option" and part.name != "help"]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *(_argument(part) for part in arguments)])
    if command.context_settings.get("allow_extra_args"):
        usage += " -- COMMAND…"
    paragraphs = [re.sub(r"\s+", " ", text).strip() for text in str(command.help).split("\n\n")]
    lines = [f"### godocker {usage}", "", _wrapped("\n\n".join(paragraphs))]
    rows = [
        *(
            _row(
                f"`{_argument(part).removeprefix('[').removesuffix(']') if not part.required else _argument(part)}`",
                part,
            )
            for part in arguments
        ),
        *_options(options),
    ]
    if rows:
        lines += ["", "| | |", "|---|---|", *rows]
    return "\n".join(lines)


def _argument(part: Any) -> str:
    name = str(part.metavar or part.name).upper()
    return name if part.required else f"[{name}]"


def _options(options: list[Any]) -> Iterator[str]:
    for part in options:
        names = ", ".join(f"`{name}`" for name in (*part.opts, *part.secondary_opts))
        yield _row(names, part)


def _row(names: str, part: Any) -> str:
    return f"| {names} | {str(part.help or '').replace('|', chr(92) + '|')} |"


def _wrapped(text: str) -> str:
    """Wrap paragraphs; leave code, tables and headings unchanged."""
    return "\n\n".join(
        part
        if part.startswith(("    ", "|", "#"))
        else textwrap.fill(" ".join(part.split()), _WIDTH, break_on_hyphens=False, break_long_words=False)
        for part in text.split("\n\n")
    )


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
