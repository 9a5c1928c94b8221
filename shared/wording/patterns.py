"""
The rule that each regular expression of a field stands for, as a sentence: pure.

A test finds every pattern of settings and Web API and looks it up here.
"""

from __future__ import annotations

from collections.abc import Mapping

RULES: Mapping[str, str] = {
    # --- Web API
    r"^(ro|rw)$": "must be ro (read only) or rw (read and write)",
    r"^([^@\s]+@[^@\s]+)?$": "must be an email address like alice@example.org, or empty",
    r"^[a-z_][a-z0-9_.-]{0,31}$": (
        "must be a login: at most 32 lower-case letters, digits, dots, dashes and underscores, with a letter or an "
        "underscore first"
    ),
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$": (
        "must be at most 64 letters, digits, dots, dashes and underscores, with a letter or a digit first"
    ),
    r"^([0-9]{1,15}(\.[0-9]{1,3})?[KMGTkmgt]?[Bb]?)?$": "must be a size like 500M or 10G, or a number of bytes",
    r"^[ -~]+$": "must be printable ASCII characters",
    # --- settings
    r"^[A-Za-z0-9_-]{1,64}$": "must be 1 to 64 letters, digits, dashes and underscores",
    r"^[a-z][a-z0-9_]{0,63}$": "must be at most 64 lower-case letters, digits and underscores, with a letter first",
    r"^[A-Za-z][A-Za-z0-9-]{0,63}$": "must be the name of an LDAP attribute like uidNumber",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$": (
        "must be at most 63 letters, digits, dots, dashes and underscores, with a letter or a digit first"
    ),
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$|^/dev/[A-Za-z0-9/_-]{1,60}$": (
        "must be the name of a GPU (an index or a UUID) or a device like /dev/dri/card0"
    ),
    r"^[a-z0-9][a-z0-9-]{0,40}$": (
        "must be at most 41 lower-case letters, digits and dashes, with a letter or a digit first"
    ),
    r"^[A-Za-z0-9_-]{1,60}$": "must be 1 to 60 letters, digits, dashes and underscores",
    r"^[A-Za-z0-9_.-]{1,40}$": "must be 1 to 40 letters, digits, dots, dashes and underscores",
    r"^https?://": "must be a URL that begins with http:// or https://",
    r"^\(.+\)$": "must be an LDAP filter in parentheses like (objectClass=person)",
    r"^[a-z][a-z0-9_]{0,31}$": "must be the name of a policy like fifo or fairshare",
}


def rule_of(pattern: str) -> str:
    """Return the sentence for a value that does not match `pattern`, or the pattern itself if none is known."""
    return RULES.get(pattern, f"must match {pattern}")
