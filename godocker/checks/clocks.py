"""How far another machine's clock is from ours."""

from __future__ import annotations

from godocker.checks import findings

_NOTICED = 1.0  #: seconds: times in the records begin to look odd
_TOLERATED = 5.0  #: seconds: leases and tokens begin to misbehave


def judge(whose: str, theirs: float, asked_at: float, answered_at: float) -> findings.Finding:
    """
    Compare the time somebody told with ours. All are seconds since the epoch; theirs was read at some moment between
    the question and the answer, so only what lies outside of that is a difference (Cristian, 1989).
    """
    skew = max(asked_at - theirs, theirs - answered_at, 0.0)
    part, detail = "clock", f"{whose}: {skew:.2f} s apart"
    if skew > _TOLERATED:
        return findings.bad(part, f"{detail}; run a time service such as chrony on both machines")
    return findings.warning(part, detail) if skew > _NOTICED else findings.well(part, detail)
