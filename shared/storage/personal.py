"""Personal storage on `shared_dir`: one directory per user, independent of tasks."""

from __future__ import annotations

from pathlib import Path

from shared.models import user as users

_FOLDER = "users"

#: Folder of uploads and removals in progress, beside the users' directories; its name is no user's.
STAGING = f"{_FOLDER}/.staging"


def relative(user_id: str) -> str:
    """
    Return a user's directory, relative to `shared_dir`: `users/<user id>`. Raises ValueError for a text that is no plain
    account name.
    """
    if not users.USER_ID.fullmatch(user_id):
        raise ValueError(f"not a user id: {user_id!r}")
    return f"{_FOLDER}/{user_id}"


def existing(shared_dir: Path, user_id: str) -> Path | None:
    """Return the user's directory; None if it does not exist. Accesses the disk."""
    try:
        path = shared_dir.absolute() / relative(user_id)
    except ValueError:
        return None
    # Only we can write to the folder above, so nobody can put a link in its place.
    return path if path.is_dir() and not path.is_symlink() else None
