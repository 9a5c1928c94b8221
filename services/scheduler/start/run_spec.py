"""Build the run of an attempt, as an executor takes it, from the task: pure."""

from __future__ import annotations

from shared.executors import types
from shared.executors.types import Handle, Mount, PortMapping, Run, TmpStorage
from shared.models.task import Network, Task
from shared.settings import Settings
from shared.units.sizes import GB

DATA = "god-data"  #: the name of the personal storage among the mounts


def run_of(
    task: Task, *, node: str, directory: str, settings: Settings, data: str | None = None, state: str | None = None
) -> Run:
    """
    Return the run of the task's current attempt. A root task gets all volumes read only except its own directory.
    `data` is the user's personal storage, if any; `state` the directory of the task's wrappers.
    """
    spec, placed = task.spec, task.placement
    given = placed.ports if placed else ()
    mounts = [
        Mount(volume.name, volume.path, volume.mount, read_only=spec.root or volume.acl != "rw")
        for volume in spec.volumes
    ]
    if data is not None:
        mounts.append(Mount(DATA, data, types.DATA, read_only=True))
    return Run(
        handle=Handle(node, task.id, task.attempt, placed.system if placed else None),
        image=spec.image,
        uid=0 if spec.root else task.user.uid,
        gid=0 if spec.root else task.user.gid,
        groups=() if spec.root else tuple(task.user.groups),
        cpus=spec.cpu,
        memory=round(spec.ram * GB),
        directory=directory,
        environment=_array(task),
        shebang=spec.cmd.startswith("#!"),
        mounts=tuple(mounts),
        network=_network(task),
        ports=tuple(PortMapping(inner, outer) for inner, outer in zip(spec.ports, given, strict=False)),
        gpus=tuple(placed.gpus) if placed else (),
        tmpstorage=TmpStorage(spec.tmpstorage.size, spec.tmpstorage.path) if spec.tmpstorage else None,
        root=spec.root,
        request=task.request,
        login="root" if spec.root else task.user.id,
        state=state,
    )


def _array(task: Task) -> dict[str, str]:
    """
    Return the variables of an array's child, with the prefix misspelt by GO-Docker, which scripts use, and with ours.
    """
    member = task.member
    if member is None:
        return {}
    values = {"ID": member.index, "FIRST": member.first, "LAST": member.last, "STEP": member.step}
    indices = range(member.first, member.last + 1, member.step)
    count, last = (len(indices), indices[-1]) if member.count is None else (member.count, member.last)
    return {
        **{
            f"{prefix}_TASK_{name}": str(value) for prefix in ("GOGOCKER", "GODOCKER") for name, value in values.items()
        },
        "GODOCKER_TASK_COUNT": str(count),
        "GODOCKER_TASK_IS_LAST": "1" if member.index == last else "0",
    }


def _network(task: Task) -> str | None:
    match task.spec.network:
        case Network.USER:
            return f"user-{task.user.id}"
        case Network.PROJECT:
            return f"project-{task.project}"
        case Network.PUBLIC:
            return types.PUBLIC
    return None
