"""Validity times of tokens between services, in seconds, with a leeway for differing clocks."""

from __future__ import annotations

from collections.abc import Mapping

from shared import errors

LEEWAY = 30  #: seconds that the clocks of two services may differ

#: Options for python-jose, which would use this machine's clock: readers check the expiry themselves.
NOT_HERE: Mapping[str, int] = {"leeway": 10**10}


def check(made_at: int, good_until: int, *, now: float, what: str) -> None:
    """Raise `errors.NotAuthenticated` if a token has expired or is from the future, by more than the leeway."""
    if made_at - LEEWAY <= now <= good_until + LEEWAY:
        return
    seconds = round(now - made_at)
    how = f"made {seconds} s ago" if seconds > 0 else f"made {-seconds} s from now"
    raise errors.NotAuthenticated(
        f"{what} was {how}: it is too old, or the services' clocks differ by {abs(seconds)} s"
    )
