"""Find the policy that is configured: ours by name, others by entry point."""

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

OURS: Mapping[str, Callable[[Settings], Policy]] = {
    "fifo": lambda settings: Fifo(),
    "fairshare": lambda settings: FairShare(lambda: Weights.of(settings)),
}


def build(settings: Settings) -> Policy:
    """
    The policy named by `scheduler_policy`. Our names are not replaced by others. Raises `errors.ConfigurationError` where there
    is none of that name, or where it cannot be loaded.
    """
    name = settings.scheduler_policy
    if name in OURS:
        return OURS[name](settings)
    others = {point.name: point for point in metadata.entry_points(group=GROUP)}
    if name not in others:
        known = ", ".join(sorted({*OURS, *others}))
        raise errors.ConfigurationError(f"scheduler_policy: there is no policy {name}; choose from {known}")
    try:
        made: Policy = others[name].load()(settings)
    except Exception as error:  # somebody else's code
        raise errors.ConfigurationError(
            f"scheduler_policy: {name} of {others[name].value} cannot be used: {type(error).__name__}: {error}"
        ) from error
    return made
