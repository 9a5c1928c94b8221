"""
Run the benchmarks of two commits alternately on this machine and print their ratios: `python -m benchmarks compare REV`.

Each commit is checked out beside the repository and runs its own figures with its own code, so that renamed modules do not
matter: rows are matched by figure and name. Both use this interpreter's packages. The order alternates from pair to pair (old,
new, new, old, …), so that a change in the machine's speed favours neither.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import figures, machine, report

DEFAULT = ("submits", "control_plane", "planning", "launch", "docker_rate", "process_rate")
LIMIT = 900.0  #: seconds for one run of one commit

_ROOT = Path(__file__).parent.parent
_WRITTEN = re.compile(r"^written to benchmarks/results/(\S+)\.md and \.json$", re.MULTILINE)


class CompareError(Exception):
    """The commits cannot be compared."""


@dataclass(frozen=True, slots=True)
class Side:
    """A commit with its name and checkout."""

    commit: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Compared:
    """A row of both commits. Pairs are in order of measurement, with the old commit's value first."""

    figure: str
    what: str
    unit: str
    pairs: Sequence[tuple[float, float]]

    @property
    def ratios(self) -> list[float]:
        """Ratios new/old of all pairs with a nonzero old value."""
        return [new / old for old, new in self.pairs if old]


Values = Mapping[tuple[str, str], tuple[float, str]]  #: value and unit by figure and row


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    load, described = machine.load_average(), machine.description()
    if load > machine.BUSY:
        print(f"WARNING: the load average is {load:.2f}: others use this machine", file=sys.stderr, flush=True)
    try:
        with checkout(options.revision) as old, checkout(options.against) as new:
            pairs = _measure(old, new, options)
    except CompareError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    text = document(pairs, old=old.commit, new=new.commit, described=described, load=load, quick=not options.full)
    path = report.FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-{old.commit}-to-{new.commit}.md"
    path.write_text(text)
    path.with_suffix(".json").write_text(json.dumps(_plain(pairs, old, new, described, load), indent=1) + "\n")
    print(f"\n{text}\nwritten to benchmarks/results/{path.name} and .json")
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare", description="Compare this commit with another one, by turns."
    )
    parser.add_argument("revision", metavar="REV", help="the commit to compare with")
    parser.add_argument("names", nargs="*", metavar="name", help=f"figures; without any: {', '.join(DEFAULT)}")
    parser.add_argument("--against", default="HEAD", metavar="REV", help="the other commit (default: HEAD)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs to measure (default: 5)")
    parser.add_argument("--full", action="store_true", help="full figures instead of quick ones")
    options = parser.parse_intermixed_args(arguments)
    options.names = options.names or list(DEFAULT)
    if unknown := [name for name in options.names if name not in figures.ALL]:
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join(figures.ALL)}")
    return options


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[Side]:
    """Create a checkout of a commit and remove it at the end. Raises `CompareError` for an unknown commit."""
    commit = _git("rev-parse", "--short", "--verify", f"{revision}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="god-compare-", ignore_cleanup_errors=True) as parent:
        # Other users must be able to enter the task directories of the figures.
        os.chmod(parent, 0o711)
        folder = Path(parent) / "checkout"
        _git("worktree", "add", "--detach", "--force", str(folder), commit)
        try:
            yield Side(commit, folder)
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _measure(old: Side, new: Side, options: argparse.Namespace) -> list[Compared]:
    measured: list[tuple[Values, Values]] = []
    for number in range(options.rounds):
        turns = (old, new) if number % 2 == 0 else (new, old)
        found = {}
        for side in turns:
            print(f"pair {number + 1} of {options.rounds}: {side.commit}", flush=True)
            found[side.folder] = run(side, options.names, full=options.full)
        measured.append((found[old.folder], found[new.folder]))
    return paired(measured)


def run(side: Side, names: Sequence[str], *, full: bool) -> Values:
    """Measure the figures of one commit with its own code. Raises `CompareError`."""
    argv = [sys.executable, "-m", "benchmarks", *([] if full else ["--quick"]), *names]
    environment = {**os.environ, "PYTHONPATH": str(side.folder)}
    done = subprocess.run(
        argv, cwd=side.folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    written = _WRITTEN.search(done.stdout)
    if written is None:
        raise CompareError(f"{side.commit} measured nothing: {done.stderr.strip().splitlines()[-1:]}")
    content = json.loads((side.folder / "benchmarks" / "results" / f"{written[1]}.json").read_text())
    if failed := [figure["failure"] for figure in content["figures"] if figure["failure"]]:
        print(f"  {side.commit}: {'; '.join(failed)}", file=sys.stderr, flush=True)
    return {
        (figure["name"], row["what"]): (float(row["value"]), str(row["unit"]))
        for figure in content["figures"]
        for row in figure["rows"]
    }


def paired(measured: Sequence[tuple[Values, Values]]) -> list[Compared]:
    """Return the rows that both commits have, with every complete pair."""
    keys = [key for old, new in measured[:1] for key in old if key in new]
    return [
        Compared(
            key[0],
            key[1],
            measured[0][0][key][1],
            [(old[key][0], new[key][0]) for old, new in measured if key in old and key in new],
        )
        for key in keys
    ]


def document(
    rows: Sequence[Compared], *, old: str, new: str, described: Mapping[str, str], load: float, quick: bool
) -> str:
    """Return a table of ratios new/old, for people."""
    lines = [
        f"# {new} compared with {old}",
        "",
        "Both commits by turns, on one machine, in one run. Ratios are new / old.",
        "",
    ]
    if load > machine.BUSY:
        lines += [f"**Provisional**: the load average at the start was {load:.2f}, others were using the machine.", ""]
    if quick:
        lines += ["Quick figures, with few samples each; what counts is the median over the pairs.", ""]
    lines += ["| | old, median | new, median | ratio, median | ratios of the pairs |", "|---|---|---|---|---|"]
    lines += [_line(row) for row in rows if row.ratios]
    lines += ["", *(f"- {name}: {value}" for name, value in described.items() if name != "GoDocker"), ""]
    return "\n".join(lines)


def _line(row: Compared) -> str:
    old = statistics.median(pair[0] for pair in row.pairs)
    new = statistics.median(pair[1] for pair in row.pairs)
    ratios = " ".join(f"{ratio:.2f}" for ratio in row.ratios)
    ratio = statistics.median(row.ratios)
    return f"| {row.figure}: {row.what} | {old:.4g} {row.unit} | {new:.4g} {row.unit} | **{ratio:.3f}** | {ratios} |"


def _plain(
    rows: Sequence[Compared], old: Side, new: Side, described: Mapping[str, str], load: float
) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "old": old.commit,
        "new": new.commit,
        "machine": {name: value for name, value in described.items() if name != "GoDocker"},
        "load_average_at_start": load,
        "rows": [{"figure": row.figure, "what": row.what, "unit": row.unit, "pairs": list(row.pairs)} for row in rows],
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise CompareError(done.stderr.strip() or f"git {arguments[0]} failed")
    return done.stdout.strip()
