"""
The temporary storage of a run: an anonymous volume, which the engine removes with the container, or memory.

On disk its size is enforced where the engine has quotas on volumes (project quotas of the file system with its data), and only
requested elsewhere. In memory it is always enforced, and written data counts as the task's memory.
"""

from __future__ import annotations

import io
import tarfile
from typing import Any, Literal

import aiodocker
import orjson

from shared.executors import types
from shared.executors.docker import body, client

Kind = Literal["disk", "memory"]

SWEEP_TIMEOUT = 5.0  #: seconds


class Scratch:
    """The temporary storage of one node's runs."""

    def __init__(self, engine: client.Engine, *, kind: Kind, instance: str) -> None:
        self._engine = engine
        self._kind = kind
        self._instance = instance
        self._has_quotas = True  # until the engine refuses one
        self._unused: set[str] = set()

    def volumes(self, run: types.Run) -> list[dict[str, Any]]:
        """Return the additional `HostConfig.Mounts`."""
        if run.tmpstorage is None or self._kind == "memory":
            return []
        size = {"size": str(run.tmpstorage.size)} if self._has_quotas else {}
        options = {
            "NoCopy": True,
            "Labels": {body.INSTANCE: self._instance},
            "DriverConfig": {"Name": "local", "Options": size},
        }
        return [{"Type": "volume", "Target": run.tmpstorage.path, "ReadOnly": False, "VolumeOptions": options}]

    def tmpfs(self, run: types.Run) -> dict[str, str]:
        """Return `HostConfig.Tmpfs`."""
        if run.tmpstorage is None or self._kind == "disk":
            return {}
        uid, gid = _owner(run)
        options = f"rw,exec,nosuid,nodev,size={run.tmpstorage.size},uid={uid},gid={gid},mode=0700"
        return {run.tmpstorage.path: options}

    def is_refused_quota(self, message: str) -> bool:
        """Return whether a create failed because of the size alone, so that it has to be repeated."""
        refused = self._has_quotas and "quota" in message.lower() and "support" in message.lower()
        if refused:
            self._has_quotas = False
        return refused

    async def hand_over(self, run: types.Run, identifier: str) -> None:
        """
        Give the volume to the user before the container is started: a new volume belongs to root. Unpacking an archive with
        just the directory sets its owner and mode.
        """
        if run.tmpstorage is not None and self._kind == "disk":
            await self._engine.call(
                "PUT", f"containers/{identifier}/archive", params={"path": "/"}, body=_archive(run, run.tmpstorage.path)
            )

    async def sweep(self) -> None:
        """
        Remove our volumes without a container, which an engine leaves that is killed while it creates one. A volume must have
        been seen at the last sweep too: one that is being created has no container yet.
        """
        filters = {"label": [f"{body.INSTANCE}={self._instance}"], "dangling": ["true"]}
        _, answer = await self._engine.call(
            "GET", "volumes", params={"filters": orjson.dumps(filters).decode()}, timeout=SWEEP_TIMEOUT
        )
        names = {volume["Name"] for volume in answer.get("Volumes") or []}
        for name in names & self._unused:
            try:
                await self._engine.call("DELETE", f"volumes/{name}", timeout=SWEEP_TIMEOUT)
            except aiodocker.DockerError as error:
                if error.status not in (404, 409):  # gone, or in use after all
                    raise
        self._unused = names


def _archive(run: types.Run, path: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo(path.strip("/"))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        folder.uid, folder.gid = _owner(run)
        archive.addfile(folder)
    return buffer.getvalue()


def _owner(run: types.Run) -> tuple[int, int]:
    return (0, 0) if run.root else (run.uid, run.gid)
