"""Requirements of a cluster on this machine, and how to meet them."""

from __future__ import annotations

import os
import shutil

from godocker.docker.local_engine import BUSYBOX
from tests.cluster.commands import ClusterError

_PACKAGES = {
    "dockerd": "docker.io",
    "containerd": "containerd",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
}


def check() -> None:
    """Raise `ClusterError` with the missing parts and how to get them."""
    if os.geteuid() != 0:
        raise ClusterError("Docker hosts in namespaces need root: run it as root, with sudo for example")
    missing = {package for program, package in _PACKAGES.items() if shutil.which(program) is None}
    if not BUSYBOX.exists():
        missing.add("busybox-static")
    if missing:
        names = " ".join(sorted(missing))
        raise ClusterError(f"not everything is installed. On Debian: apt-get install --no-install-recommends {names}")
