"""Personal storage on `shared_dir`: one directory per user, kept while tasks come and go."""

from __future__ import annotations

from pathlib import Path

from shared.models import user as users

_FOLDER = "users"

#: Beside the users' directories, and no user's name: what is being uploaded, and what is being removed. Below `shared_dir`.
STAGING = f"{_FOLDER}/.staging"


def relative(user_id: str) -> str:
    """A user's directory below `shared_dir`: `users/<user id>`. Raises ValueError for what is not a plain account name."""
    if not users.USER_ID.fullmatch(user_id):
        raise ValueError(f"not a user id: {user_id!r}")
    return f"{_FOLDER}/{user_id}"


def existing(shared_dir: Path, user_id: str) -> Path | None:
    """The user's directory; None where nothing was ever put there, or where there can be none. It asks the disk."""
    try:
        path = shared_dir.absolute() / relative(user_id)
    except ValueError:
        return None
    # The folder above is ours alone, so nobody can put a link in its place.
    return path if path.is_dir() and not path.is_symlink() else None
