"""Check the tasks that a sent task depends on: pure."""

from __future__ import annotations

from collections.abc import Iterator

from services.api.admission.checked import Checked
from services.api.wire.submission import DependsIn, TaskIn
from shared.errors import FieldError
from shared.models.task import Dependencies

MAX_DEPENDENCIES = 1000  #: of one task


def dependencies(sent: TaskIn) -> Checked[Dependencies]:
    """Return the dependencies, each id once. Whether these tasks exist is checked elsewhere."""
    if not (sent.needs.tasks or sent.needs.depends):
        return Dependencies(), []
    depends = sent.needs.depends or DependsIn()
    value = Dependencies(
        ok=sorted({*(depends.afterok or ())}),
        any=sorted({*(sent.needs.tasks or ()), *(depends.afterany or ())}),
        not_ok=sorted({*(depends.afternotok or ())}),
    )
    problems = []
    if len(value.ids) > MAX_DEPENDENCIES:
        rule = f"must name at most {MAX_DEPENDENCIES} tasks, together with requirements.tasks"
        problems.append(FieldError("requirements.depends", rule))
    for task_id in sorted({*value.ok} & {*value.not_ok}):
        rule = f"task {task_id} cannot end with 0 and in another way"
        problems.append(FieldError("requirements.depends.afternotok", rule))
    return value, problems


def paths(sent: TaskIn) -> Iterator[tuple[str, int]]:
    """Yield the path and the id of each dependency as it was sent."""
    depends = sent.needs.depends or DependsIn()
    for path, ids in (
        ("requirements.tasks", sent.needs.tasks),
        ("requirements.depends.afterok", depends.afterok),
        ("requirements.depends.afterany", depends.afterany),
        ("requirements.depends.afternotok", depends.afternotok),
    ):
        yield from ((f"{path}.{number}", task_id) for number, task_id in enumerate(ids or ()))
