"""Fields of a task's document that hold its intent, and the order of intents."""

from __future__ import annotations

from typing import Any

from shared.lifecycle import STOPPING, Intent


def written(intent: Intent, at: float, by: str | None) -> dict[str, Any]:
    """
    Return the fields of a `$set` in an update pipeline.

    A repeated intent keeps its time and the name of the first user who asked. So does the time of a kill that follows a
    reschedule: the run may have ended by that earlier stop, which is no exit of its own.
    """
    same = sorted(STOPPING) if intent is Intent.KILL else [intent]
    is_same = {"$in": ["$intent", same]}
    return {
        "intent": intent,
        "intent_at": {"$cond": [is_same, "$intent_at", at]},
        # Literal: in a pipeline, a text that begins with a dollar sign would name a field.
        "intent_by": {"$cond": [{"$eq": ["$intent", intent]}, {"$ifNull": ["$intent_by", None]}, {"$literal": by}]},
    }


def above(intent: Intent) -> list[Intent]:
    """
    Return the intents that this one does not replace: a kill is final, and a run that is being stopped is not suspended or
    resumed.
    """
    if intent is Intent.KILL:
        return []
    return [Intent.KILL] if intent is Intent.RESCHEDULE else sorted(STOPPING)
