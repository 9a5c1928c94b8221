"""Create a cluster, find that of another process, and remove every trace of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.cluster import claims, requirements
from tests.cluster.cgroups import ROOT as CGROUPS
from tests.cluster.cgroups import Cgroup
from tests.cluster.cluster import DESCRIPTION, SMALL, Cluster
from tests.cluster.commands import ClusterError
from tests.cluster.host import Size
from tests.cluster.machine import Machine
from tests.cluster.network import Network

FOLDER = Path(
    "/var/lib"
)  #: Docker's own parent folder: closed to all but root, on a file system that supports overlay2
PREFIX = "godocker-cluster-"
END_TIMEOUT = 20.0  #: seconds until killed processes must be gone


@contextmanager
def cluster(name: str, sizes: Sequence[Size] = SMALL, *, options: Sequence[str] = ()) -> Iterator[Cluster]:
    """
    Run hosts of these sizes, each with the image and with additional `options` of dockerd. Everything is removed at the
    end, and leftovers of killed processes at the beginning. Raises `ClusterError`.
    """
    requirements.check()
    sweep()
    claim = _any_number()
    try:
        made = Cluster(name, claim.number, sizes, _directory(claim.number), owner=os.getpid())
        try:
            take_down(claim.number)  # its last owner may have been killed after the sweep
            made.start(*options)
            yield made
        finally:
            made.switch_off()
    finally:
        take_down(claim.number)
        claim.close()


def find(name: str) -> Cluster | None:
    """Return the running cluster of that name, of any process."""
    for number in _numbers_in_use():
        try:
            kept = json.loads((_directory(number) / DESCRIPTION).read_text())
        except (OSError, ValueError):
            continue
        if kept["name"] == name and claims.is_claimed(number):
            sizes = [Size(*size) for size in kept["sizes"]]
            return Cluster(name, number, sizes, _directory(number), owner=kept["owner"])
    return None


def sweep() -> list[int]:
    """Remove the leftovers of clusters whose process has ended, and return their numbers."""
    swept = []
    for number in _numbers_in_use():
        claim = claims.claim(number)
        if claim is None:
            continue  # it is in use
        try:
            take_down(number)
            swept.append(number)
        finally:
            claim.close()
    return swept


def take_down(number: int) -> None:
    """Remove everything of a cluster, in any state. The caller must hold its number."""
    group = Cgroup(f"/{PREFIX}{number}")
    # Frozen processes cannot be killed.
    group.thaw()
    directory = _directory(number)
    for file in sorted(directory.glob("*/machine.pid")):
        Machine(file.parent.name, file.parent, owner=os.getpid()).switch_off()
    Network(number).remove()
    group.remove()
    psutil.wait_procs(processes(number), timeout=END_TIMEOUT)
    _remove_tree(directory)


def processes(number: int) -> list[psutil.Process]:
    """
    Return the processes that use the cluster's files: its machines, and a GoDocker on them that ends a little later than
    its parent.
    """
    inside = f"{_directory(number)}/"
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(inside in word for word in process.info["cmdline"] or []) and process.pid != os.getpid()
    ]


def traces(number: int) -> list[str]:
    """Return what exists of a cluster in the file system, the network and the control groups, without processes."""
    found = [str(_directory(number))] if _directory(number).exists() else []
    return found + Network(number).traces() + Cgroup(f"/{PREFIX}{number}").traces()


def _any_number() -> claims.Claim:
    for number in claims.NUMBERS:
        if not Network(number).is_free():
            continue
        claim = claims.claim(number)
        if claim is not None:
            return claim
    raise ClusterError(f"{len(claims.NUMBERS)} clusters are running already, or their addresses are in use")


def _numbers_in_use() -> list[int]:
    """Return the numbers with a directory, a bridge or a control group."""
    pattern = re.compile(rf"{PREFIX}(\d+)")
    names = [path.name for folder in (FOLDER, CGROUPS, *CGROUPS.glob("*/")) for path in folder.glob(f"{PREFIX}*")]
    numbers = {int(found[1]) for name in names if (found := pattern.fullmatch(name))}
    bridges = (re.fullmatch(r"godocker(\d+)", path.name) for path in Path("/sys/class/net").iterdir())
    return sorted(numbers | {int(bridge[1]) for bridge in bridges if bridge})


def _directory(number: int) -> Path:
    return FOLDER / f"{PREFIX}{number}"


def _remove_tree(directory: Path) -> None:
    # A dying engine may create files while we remove them.
    deadline = time.monotonic() + END_TIMEOUT
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            if time.monotonic() > deadline:
                raise ClusterError(f"{directory} cannot be removed")
            time.sleep(0.05)
