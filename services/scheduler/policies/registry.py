"""Build the configured policy: a built-in one, or one of another package by entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata

from services.scheduler.policies.base import Policy
from services.scheduler.policies.fairshare import FairShare
from services.scheduler.policies.fifo import Fifo
from services.scheduler.policies.tickets import Weights
from shared import errors
from shared.settings import Settings

#: The entry points of other packages: each a callable that takes the settings and returns a `Policy`.
GROUP = "godocker.policies"

BUILT_IN: Mapping[str, Callable[[Settings], Policy]] = {
    "fifo": lambda settings: Fifo(),
    "fairshare": lambda settings: FairShare(lambda: Weights.of(settings)),
}


def build(settings: Settings) -> Policy:
    """
    Return the policy named by `scheduler_policy`. Entry points cannot replace built-in policies. Raises
    `errors.ConfigurationError` if there is no policy of that name, or if it cannot be loaded.
    """
    name = settings.scheduler_policy
    if name in BUILT_IN:
        return BUILT_IN[name](settings)
    others = {point.name: point for point in metadata.entry_points(group=GROUP)}
    if name not in others:
        known = ", ".join(sorted({*BUILT_IN, *others}))
        raise errors.ConfigurationError(f"scheduler_policy: there is no policy {name}; choose from {known}")
    try:
        policy: Policy = others[name].load()(settings)
    except Exception as error:  # code of another package
        raise errors.ConfigurationError(
            f"scheduler_policy: {name} of {others[name].value} cannot be used: {type(error).__name__}: {error}"
        ) from error
    return policy
