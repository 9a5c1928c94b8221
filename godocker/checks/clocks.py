"""Comparison of another machine's clock with ours."""

from __future__ import annotations

from godocker.checks import findings

_NOTICED = 1.0  #: seconds from which recorded times look odd
_TOLERATED = 5.0  #: seconds up to which leases and tokens work


def check(whose: str, theirs: float, asked_at: float, answered_at: float) -> findings.Finding:
    """
    Compare another clock with ours; all times are seconds since the epoch. The other clock was read between question and answer,
    so only a time outside that interval counts as a difference (Cristian, 1989).
    """
    skew = max(asked_at - theirs, theirs - answered_at, 0.0)
    part, detail = "clock", f"{whose}: {skew:.2f} s apart"
    if skew > _TOLERATED:
        return findings.bad(part, f"{detail}; run a time service such as chrony on both machines")
    return findings.warning(part, detail) if skew > _NOTICED else findings.well(part, detail)
