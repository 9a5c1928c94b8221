"""Suggest the known name for a misspelt one: pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_ALIKE = 0.6  #: difflib's ratio from which words count as alike
_LONGEST = 64  #: most characters of a compared name; a longer one is no slip


def nearest(word: str, known: Collection[str]) -> str | None:
    """Return the name in `known` that is most like `word`; None if none is alike."""
    if len(word) > _LONGEST:
        return None
    plain = {_plain(name): name for name in sorted(known)}
    if (same := plain.get(_plain(word))) is not None:
        return same
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=_ALIKE)
    return plain[found[0]] if found else None


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return the end of a sentence that suggests the nearest name, `; did you mean cpu?`; empty if none is alike."""
    found = nearest(word, known)
    return f"; did you mean {found}?" if found else ""


def _plain(name: str) -> str:
    # `dryRun`, `dry-run` and `dry_run` count as one name.
    return name.lower().replace("-", "").replace("_", "").replace(".", "")
