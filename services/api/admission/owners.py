"""Check the owner of a sent task, its project, and the mails it asks for: pure."""

from __future__ import annotations

from services.api.admission.checked import Checked
from services.api.wire.submission import TaskIn
from shared import errors
from shared.errors import FieldError
from shared.models.project import DEFAULT, Project
from shared.models.task import TaskUser
from shared.models.user import USER_ID, User, highest_number
from shared.settings import Settings
from shared.units import addresses


def runs_as(owner: User, bind: User | None, settings: Settings) -> User:
    """
    Return the owner of a task with the numbers and the home that it runs with. A guest gets those of `bind`, the user
    that `guest_bind` names, without further groups, and a home below `guest_home_root`.

    Raises `errors.NotAllowed` for a guest where guests are not allowed or `bind` does not exist.
    """
    if not owner.guest:
        return owner
    if not settings.guest_allow:
        raise errors.NotAllowed("guests may not send tasks here")
    if bind is None:
        raise errors.NotAllowed("guests may not send tasks here: the user they would run as does not exist")
    home = str(settings.guest_home_root / owner.id) if settings.guest_home_root else None
    return owner.model_copy(update={"uid": bind.uid, "gid": bind.gid, "sgids": [], "home": home})


def user(owner: User, settings: Settings) -> Checked[TaskUser]:
    """
    Return the user and the numbers that the task runs with; further groups that the executor cannot take are left out.
    """
    highest = highest_number(settings.executor)
    problems = []
    if not USER_ID.fullmatch(owner.id):
        problems.append(FieldError("user.id", "must be a plain account name"))
    for name, number in (("uid", owner.uid), ("gid", owner.gid)):
        if number > highest:
            rule = f"has {name} {number}, above {highest}, the highest that a task can run with"
            problems.append(FieldError("user.id", rule))
    groups = [number for number in owner.sgids if number <= highest]
    return TaskUser(id=owner.id, uid=owner.uid, gid=owner.gid, groups=groups, home=owner.home), problems


def project_id(sent: TaskIn, owner: User, project: Project | None) -> Checked[str]:
    """Return the id of the project. `project` is the one of that id; None where there is none."""
    if sent.project_id == DEFAULT or (project is not None and project.has(owner.id)):
        return project.id if project else DEFAULT, []
    rule = f"{owner.id} is not a member of a project called {sent.project_id}"
    return DEFAULT, [FieldError("user.project", rule)]


def notify_email(sent: TaskIn, owner: User, settings: Settings) -> Checked[bool]:
    """Return whether the owner gets mails about the task."""
    if not (sent.notify and sent.notify.email):
        return False, []
    if settings.smtp_host is None:
        return True, [FieldError("notify.email", "no mail server is configured here: leave it out")]
    if not owner.email or not addresses.is_address(owner.email):
        rule = f"{owner.id} has no email address that mail can be sent to: set one first"
        return True, [FieldError("notify.email", rule)]
    return True, []
