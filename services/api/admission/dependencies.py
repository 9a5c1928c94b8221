"""Which tasks a task has to come after: pure."""

from __future__ import annotations

from collections.abc import Iterator

from services.api.wire import submission
from shared.errors import FieldError
from shared.models.task import Dependencies

MOST = 1000  #: of one task


def wanted(sent: submission.TaskIn) -> Dependencies:
    """What is asked for; an id that is named twice counts once."""
    wants = sent.requirements
    if wants is None or not (wants.tasks or wants.depends):
        return Dependencies()
    depends = wants.depends or submission.DependsIn()
    return Dependencies(
        ok=sorted({*(depends.afterok or ())}),
        any=sorted({*(wants.tasks or ()), *(depends.afterany or ())}),
        not_ok=sorted({*(depends.afternotok or ())}),
    )


def problems(sent: submission.TaskIn) -> Iterator[FieldError]:
    """Every rule that is broken whatever tasks there are."""
    depends = wanted(sent)
    if not depends.ids:
        return
    if len(depends.ids) > MOST:
        yield FieldError("requirements.depends", f"must name at most {MOST} tasks, together with requirements.tasks")
    for task_id in sorted({*depends.ok} & {*depends.not_ok}):
        yield FieldError("requirements.depends.afternotok", f"task {task_id} cannot end with 0 and in another way")


def named(sent: submission.TaskIn) -> Iterator[tuple[str, int]]:
    """Each id that was sent, with the path of where."""
    wants = sent.requirements or submission.RequirementsIn()
    depends = wants.depends or submission.DependsIn()
    for path, ids in (
        ("requirements.tasks", wants.tasks),
        ("requirements.depends.afterok", depends.afterok),
        ("requirements.depends.afterany", depends.afterany),
        ("requirements.depends.afternotok", depends.afternotok),
    ):
        yield from ((f"{path}.{number}", task_id) for number, task_id in enumerate(ids or ()))
