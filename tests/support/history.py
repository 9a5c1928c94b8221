"""The checker of the invariants: the records against a witness outside GoDocker."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo

from shared.settings import Settings

#: What the name of a task means: its command's exit code, None if its node fails it, or the exit code by ending.
Expected = int | None | Mapping[str, int]


class Witness:
    """
    A file outside GoDocker that tasks append to. `inside` is its folder as tasks see it. Each line is `<run> start|stop
    <seconds>`, written by one O_APPEND write, so lines do not mix.
    """

    def __init__(self, folder: Path, *, inside: str | None = None) -> None:
        folder.mkdir(mode=0o777, parents=True, exist_ok=True)
        folder.chmod(0o777)
        self.folder = folder
        self._file = folder / "witness"
        self._file.touch()
        self._file.chmod(0o666)
        self._inside = f"{inside or folder}/witness"

    def script(self, *, seconds: float = 0, exit_code: int = 0, gate: str | None = None, command: str = ":") -> str:
        """Return a task's script that leaves its traces around `command`. Its first attempt waits for `gate` to open."""
        file = f"{self._inside.rpartition('/')[0]}/gate-{gate}"
        wait = f"case $GODOCKER_RUN in *-1) until [ -e {file} ]; do sleep 0.2; done;; esac\n" if gate else ""
        return (
            f'echo "$GODOCKER_RUN start $(date +%s)" >> {self._inside} || exit 99\n'
            f"{wait}sleep {seconds:g}\n{command}\n"
            f'echo "$GODOCKER_RUN stop $(date +%s)" >> {self._inside}\n'
            f"exit {exit_code}\n"
        )

    def open(self, gate: str) -> None:
        """Release the tasks that wait at a gate."""
        (self.folder / f"gate-{gate}").touch(mode=0o644)

    def lines(self) -> list[tuple[int, int, str]]:
        """Return (task, attempt, start|stop) in the order of writing."""
        found = []
        for line in self._file.read_text().splitlines():
            run, what, _ = line.split(" ")
            task_id, attempt = run.split("-")[-2:]
            found.append((int(task_id), int(attempt), what))
        return found

    def count(self, what: str) -> int:
        return sum(1 for _, _, seen in self.lines() if seen == what)


@dataclass(frozen=True, slots=True)
class Figures:
    """The results of a run. `runs_twice` and `lost` must be 0."""

    tasks: int = 0
    acknowledged: int = 0
    attempts: int = 0
    starts: int = 0
    usage_rows: int = 0
    lost: int = 0
    runs_twice: int = 0

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks ({self.acknowledged} acknowledged), {self.attempts} attempts, {self.starts} starts, "
            f"{self.usage_rows} usage rows, {self.lost} lost, {self.runs_twice} run twice"
        )

    def since(self, earlier: Figures) -> Figures:
        """Return the difference to `earlier`."""
        mine, before = dataclasses.asdict(self), dataclasses.asdict(earlier)
        return Figures(**{name: mine[name] - before[name] for name in mine})


def check(
    settings: Settings,
    witness: Witness,
    *,
    acknowledged: Sequence[int],
    exit_codes: Mapping[str, Expected],
    lost: Collection[int] = (),
) -> Figures:
    """
    Compare the records with the witness, and fail with all differences.

    `acknowledged` are the ids that were answered 200, `exit_codes` the meanings of the tasks' names. `lost` are ids without
    a record, as expected for tasks sent after a backup that was restored. Call it when nothing runs.
    """
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(settings.mongo_url)
    try:
        database = client[settings.mongo_db]
        tasks = {task["_id"]: task for task in database["tasks"].find()}
        usage = [(row["task"], row["attempt"]) for row in database["usage"].find()]
    finally:
        client.close()
    starts = Counter(
        (task_id, attempt) for task_id, attempt, what in witness.lines() if what == "start" and task_id not in lost
    )
    # Killed before its first line, a task's last attempt has none.
    cut = {(i, t["attempt"]) for i, t in tasks.items() if t["attempt"] and t["ending"] == "killed"} - starts.keys()
    wrong = [
        *(f"task {i} was acknowledged and does not exist" for i in acknowledged if i not in tasks),
        *(f"task {i} is lost and exists" for i in lost if i in tasks),
        *(f"task {i} is {t['status']}" for i, t in tasks.items() if t["status"] != "over"),
        *(f"task {i} is not settled" for i, t in tasks.items() if not t["settled"]),
        *(_wrong_end(task, exit_codes) for task in tasks.values()),
        *(f"attempt {key} started {count} times" for key, count in starts.items() if count != 1),
        *(
            f"task {i} has {t['attempt']} attempts and {sum(1 for key in starts if key[0] == i)} starts"
            for i, t in tasks.items()
            if t["attempt"] - ((i, t["attempt"]) in cut) != sum(1 for key in starts if key[0] == i)
        ),
        *(f"usage of {key} is counted {n} times" for key, n in Counter(usage).items() if n != 1),
        *(f"usage of {key} is missing" for key in starts if key not in set(usage)),
        *(f"usage of {key} is of a run that never was" for key in set(usage) - starts.keys() - cut),
        *(
            f"task {i} ended {n} times"
            for i, t in tasks.items()
            if (n := sum(1 for entry in t["history"] if entry["status"] == "over")) != 1
        ),
    ]
    wrong = [line for line in wrong if line]
    assert not wrong, f"{len(wrong)} things are wrong, among them:\n  " + "\n  ".join(wrong[:20])
    return Figures(
        tasks=len(tasks),
        acknowledged=len(acknowledged),
        attempts=sum(task["attempt"] for task in tasks.values()),
        starts=sum(starts.values()),
        usage_rows=len(usage),
        lost=sum(1 for task_id in acknowledged if task_id not in tasks),
        runs_twice=sum(1 for count in starts.values() if count > 1),
    )


def unsettled(settings: Settings) -> int:
    """Return the number of tasks that are active or not settled."""
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(settings.mongo_url)
    try:
        query = {"$or": [{"status": {"$ne": "over"}}, {"settled": False}]}
        return client[settings.mongo_db]["tasks"].count_documents(query)
    finally:
        client.close()


def _wrong_end(task: Mapping[str, Any], exit_codes: Mapping[str, Expected]) -> str | None:
    expected = exit_codes[task["spec"]["name"]]
    if expected is None and task["ending"] == "node_failed":
        return None
    codes = expected if isinstance(expected, Mapping) else {"exited": expected}
    if task["ending"] in codes and task["exit_code"] == codes[task["ending"]]:
        return None
    return f"task {task['_id']} ended {task['ending']} {task['exit_code']} ({task['reason']}), expected {codes}"
