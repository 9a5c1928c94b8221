"""The number of files and connections that our processes may have open."""

from __future__ import annotations

import resource

WANTED = 64_000  #: what mongod asks for


def raise_open_files() -> None:
    """Raise the soft limit as far as the hard one allows; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
