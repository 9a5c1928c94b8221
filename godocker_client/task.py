"""A task as the server describes it, in the words that people and scripts use: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_ITS_FAULT = 125  #: exit code for a task that ended without its command's doing


@dataclass(frozen=True, slots=True)
class Task:
    """One answer of `GET task/{id}`; `document` is the whole of it."""

    document: Mapping[str, Any]

    @property
    def id(self) -> int:
        return int(self.document["id"])

    @property
    def name(self) -> str:
        return str(self.document["meta"]["name"])

    @property
    def user(self) -> str:
        return str(self.document["user"]["id"])

    @property
    def project(self) -> str:
        return str(self.document["user"]["project"])

    @property
    def image(self) -> str:
        return str(self.document["container"]["image"])

    @property
    def node(self) -> str | None:
        meta = self.document["container"].get("meta") or {}
        name = (meta.get("Node") or {}).get("Name")
        return None if name is None else str(name)

    @property
    def status(self) -> Mapping[str, Any]:
        status: Mapping[str, Any] = self.document["status"]
        return status

    @property
    def is_over(self) -> bool:
        return self.status["primary"] in ("over", "archived")

    @property
    def is_array(self) -> bool:
        return bool((self.document["requirements"].get("array") or {}).get("nb_tasks"))

    @property
    def state(self) -> str:
        """`held, pending, starting, running, suspended, done, failed, killed` or `archived`."""
        primary, secondary = self.status["primary"], self.status["secondary"]
        if primary == "created":
            return "held"
        if primary == "pending":
            return "starting" if self.document["container"].get("status") == "initializing" else "pending"
        if primary == "running":
            return "suspended" if secondary == "suspended" else "running"
        if primary == "archived":
            return "archived"
        if secondary == "killed":
            return "killed"
        return "done" if self.exit_code == 0 else "failed"

    @property
    def exit_code(self) -> int | None:
        """Exit code of the command; None while it is not over, and if it never ran."""
        code = self.status["exitcode"]
        return None if code is None else int(code)

    @property
    def reason(self) -> str | None:
        """Why it waits, or how it ended, as one sentence."""
        reason = self.status["reason"]
        return None if reason is None else str(reason)

    @property
    def return_code(self) -> int:
        """The exit code that a program shall have that waited for the task: its own, or 125 where its command had no part."""
        return NOT_ITS_FAULT if self.exit_code is None else self.exit_code
