"""How far another machine's clock is from ours."""

from __future__ import annotations

from godocker.checks import findings
from shared import clock

_NOTICED = 1.0  #: seconds: times in the records begin to look odd
_TOLERATED = 5.0  #: seconds: leases and tokens begin to misbehave


def judge(whose: str, theirs: float, asked_at: float, answered_at: float) -> findings.Finding:
    """Compare the time somebody told with ours. All are seconds since the epoch."""
    skew = abs(clock.ahead(theirs, asked_at=asked_at, answered_at=answered_at))
    part, detail = "clock", f"{whose}: {skew:.2f} s apart"
    if skew > _TOLERATED:
        return findings.bad(part, f"{detail}; run a time service such as chrony on both machines")
    return findings.warning(part, detail) if skew > _NOTICED else findings.well(part, detail)
