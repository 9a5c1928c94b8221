"""Members of projects."""

from __future__ import annotations

from shared.models import project as projects
from shared.models.project import Project


def test_who_is_in_a_project() -> None:
    lab = Project(id="lab", owner="olga", members=["mia"])
    assert [lab.has(name) for name in ("olga", "mia", "otto")] == [True, True, False]
    assert Project(id="empty").has("otto") is False
    assert projects.everybody().has("anybody")
