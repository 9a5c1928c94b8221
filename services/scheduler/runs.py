"""Make what an executor is told about an attempt from the task: pure."""

from __future__ import annotations

from shared.executors import base
from shared.executors.base import Handle, Mount, Run
from shared.models.task import Task
from shared.settings import Settings
from shared.store.work import GB

DATA = "god-data"  #: the name of the personal storage among the mounts


def run_of(task: Task, *, node: str, directory: str, settings: Settings, data: str | None = None) -> Run:
    """
    The run of the task's current attempt. A root task gets every volume but its directory read only. `data` is the user's
    personal storage, where there is one.
    """
    spec = task.spec
    mounts = [
        Mount(volume.name, volume.path, volume.mount, read_only=spec.root or volume.acl != "rw")
        for volume in spec.volumes
    ]
    if data is not None:
        mounts.append(Mount(DATA, data, base.DATA, read_only=True))
    return Run(
        handle=Handle(node, task.id, task.attempt),
        image=spec.image,
        uid=0 if spec.root else task.user.uid,
        gid=0 if spec.root else task.user.gid,
        groups=() if spec.root else tuple(task.user.groups),
        cpus=spec.cpu,
        memory=round(spec.ram * GB),
        directory=directory,
        shebang=spec.cmd.startswith("#!"),
        mounts=tuple(mounts),
        network=spec.network,
        root=spec.root,
    )
