"""How a task's document says what is wanted of it: the fields that are written, and the wishes that stand above others."""

from __future__ import annotations

from typing import Any

from shared.lifecycle import STOPPING, Intent


def written(intent: Intent, at: float, by: str | None) -> dict[str, Any]:
    """
    The fields of a `$set` in an update's pipeline. A wish that was there already keeps its time, and the name of the first who
    asked. So does the time of a kill of a run that is being stopped to begin again: it may have ended of that stop before, which
    is no exit of its own.
    """
    same = sorted(STOPPING) if intent is Intent.KILL else [intent]
    kept = {"$in": ["$intent", same]}
    return {
        "intent": intent,
        "intent_at": {"$cond": [kept, "$intent_at", at]},
        # Literal: in a pipeline a text that begins with a dollar would be the name of a field.
        "intent_by": {"$cond": [{"$eq": ["$intent", intent]}, {"$ifNull": ["$intent_by", None]}, {"$literal": by}]},
    }


def above(intent: Intent) -> list[Intent]:
    """The wishes that this one does not replace: a kill is final, and what is being stopped is not suspended or resumed."""
    if intent is Intent.KILL:
        return []
    return [Intent.KILL] if intent is Intent.RESCHEDULE else sorted(STOPPING)
