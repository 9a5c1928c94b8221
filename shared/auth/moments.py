"""When a signed thing that one service makes for another is good: with a leeway, since clocks differ, and told in seconds."""

from __future__ import annotations

from collections.abc import Mapping

from shared import errors

LEEWAY = 30  #: seconds that the clocks of two services may differ beside what the thing is good for

#: For python-jose: it would ask this machine's clock. The end of what it reads has to be checked by whoever reads it.
NOT_HERE: Mapping[str, int] = {"leeway": 10**10}


def check(made_at: int, good_until: int, *, now: float, what: str) -> None:
    """Raises `errors.NotAuthenticated` where it is over, or from the future, by more than the leeway."""
    if made_at - LEEWAY <= now <= good_until + LEEWAY:
        return
    seconds = round(now - made_at)
    how = f"made {seconds} s ago" if seconds > 0 else f"made {-seconds} s from now"
    raise errors.NotAuthenticated(
        f"{what} was {how}: it is too old, or the services' clocks differ by {abs(seconds)} s"
    )
