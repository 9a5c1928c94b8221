"""Report of a benchmark run: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.results import Result, Row

FOLDER = Path(__file__).parent / "results"
_MARK = {True: "yes", False: "**no**", None: ""}


def write(results: Sequence[Result], *, described: Mapping[str, str], load: float, quick: bool) -> Path:
    """Write both files and return the path of the table."""
    FOLDER.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = FOLDER / f"{now:%Y-%m-%d}-{machine.commit()}.md"
    path.write_text(_document(results, described=described, load=load, quick=quick, now=now))
    content = {
        "at": now.isoformat(timespec="seconds"),
        "machine": described,
        "load_average_at_start": load,
        "quick": quick,
        "figures": [_plain(result) for result in results],
    }
    path.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    return path


def _plain(result: Result) -> dict[str, object]:
    plain = asdict(result)
    for row, content in zip(result.rows, plain["rows"], strict=True):
        content["reached"] = row.reached
    return plain


def _document(
    results: Sequence[Result], *, described: Mapping[str, str], load: float, quick: bool, now: datetime
) -> str:
    parts = [f"# Benchmarks of {now:%Y-%m-%d %H:%M} UTC, commit {described['GoDocker']}", ""]
    parts += [f"Made by `python -m benchmarks{' --quick' if quick else ''}`, everything in one run on one machine.", ""]
    parts += _warnings(load, quick)
    parts += ["| the machine | |", "|---|---|", *(f"| {name} | {value} |" for name, value in described.items())]
    parts += [f"| load average at the start | {load:.2f} |", ""]
    for result in results:
        parts += _section(result)
    return "\n".join(parts)


def _warnings(load: float, quick: bool) -> list[str]:
    lines = []
    if load > machine.BUSY:
        lines += [f"**Provisional**: the load average at the start was {load:.2f}, others were using the machine.", ""]
    if quick:
        lines += ["**Provisional**: a quick run, with few samples.", ""]
    return lines


def _section(result: Result) -> list[str]:
    lines = [f"## {result.title}", "", "| | value | spread | compared, in the same run | target | reached |"]
    lines += ["|---|---|---|---|---|---|", *(_line(row) for row in result.rows), ""]
    if result.failure:
        lines += [f"**Not finished:** {result.failure}", ""]
    around = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in result.surroundings.items())
    return [*lines, *(f"- {remark}" for remark in result.remarks), f"- {result.seconds:.0f} s; {around}", ""]


def _line(row: Row) -> str:
    target = row.target.words if row.target else ""
    value = f"{_number(row.value)} {row.unit}"
    return f"| {row.what} | {value} | {row.spread} | {row.compared} | {target} | {_MARK[row.reached]} |"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
