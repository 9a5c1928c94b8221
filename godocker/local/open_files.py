"""Limit of open files and connections of our processes."""

from __future__ import annotations

import resource

TARGET = 64_000  #: recommended for mongod


def raise_open_files() -> None:
    """Raise the soft limit as far as the hard limit allows. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = TARGET if hard == resource.RLIM_INFINITY else min(TARGET, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
