"""
Make the document of a task from the few words that people use for it: pure.

A task file holds either a whole task object of the Web API or these words (`image: busybox`, `cpu: 2` …); both in YAML or JSON.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from godocker_client.errors import InvalidTask

#: Word → where it stands in the task object.
_PLACES: Mapping[str, tuple[str, ...]] = {
    "name": ("meta", "name"),
    "description": ("meta", "description"),
    "tags": ("meta", "tags"),
    "project": ("user", "project"),
    "user": ("user", "id"),
    "image": ("container", "image"),
    "root": ("container", "root"),
    "cpu": ("requirements", "cpu"),
    "ram": ("requirements", "ram"),
    "gpus": ("requirements", "gpus"),
    "labels": ("requirements", "label"),
    "ports": ("requirements", "ports"),
    "time": ("requirements", "maxlifespan"),
    "restarts": ("requirements", "failure_policy"),
    "network": ("requirements", "network"),
    "array": ("requirements", "array", "values"),
    "max_concurrent": ("requirements", "array", "max_concurrent"),
    "after": ("requirements", "depends", "afterany"),
    "afterok": ("requirements", "depends", "afterok"),
    "afternotok": ("requirements", "depends", "afternotok"),
    "uris": ("requirements", "uris"),
    "mail": ("notify", "email"),
    "command": ("command", "cmd"),
}
_OTHERS = ("volumes", "hold")
WORDS = (*_PLACES, *_OTHERS)
_PARTS = frozenset({"meta", "user", "container", "requirements", "command", "notify", "status"})


def build(**words: Any) -> dict[str, Any]:
    """
    Return the task object for `words`; those that are None are left out. `volumes` are names, `data` or `data:rw`. Raises
    `InvalidTask` for a word that there is not, and for a task without an image or a command.
    """
    task: dict[str, Any] = {}
    for word, value in words.items():
        if value is None:
            continue
        if word in _PLACES:
            _put(task, _PLACES[word], list(value) if isinstance(value, tuple) else value)
        elif word == "volumes":
            _put(task, ("container", "volumes"), [_volume(text) for text in value])
        elif word == "hold":
            if value:
                task["status"] = {"primary": "created"}
        else:
            raise InvalidTask(_unknown(word))
    for word in ("image", "command"):
        if word not in words or words[word] in (None, ""):
            raise InvalidTask(f"{word}: is missing")
    task["command"]["interactive"] = False
    return task


def from_file(content: Any, **words: Any) -> dict[str, Any]:
    """
    Return the task object for what a task file holds, with `words` standing above it. Raises `InvalidTask`.
    """
    if not isinstance(content, dict):
        raise InvalidTask("a task file holds one task, as `word: value` lines or as an object of the Web API")
    given = {word: value for word, value in words.items() if value is not None}
    if not _is_object(content):
        return build(**{**{str(word): value for word, value in content.items()}, **given})
    task: dict[str, Any] = {name: value for name, value in content.items() if name in _PARTS}
    for word, value in given.items():
        if word == "volumes":
            _put(task, ("container", "volumes"), [_volume(text) for text in value])
        elif word == "hold":
            task["status"] = {"primary": "created"} if value else {}
        else:
            _put(task, _PLACES[word], value)
    return task


def _is_object(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(content.get(part), dict) for part in ("container", "command", "requirements"))


def _put(task: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        below = task.setdefault(name, {})
        if not isinstance(below, dict):
            raise InvalidTask(f"{name}: must be an object")
        task = below
    task[path[-1]] = value


def _volume(text: Any) -> dict[str, str]:
    if isinstance(text, dict):
        return {str(name): str(value) for name, value in text.items()}
    name, _, access = str(text).partition(":")
    if access not in ("", "ro", "rw"):
        raise InvalidTask(f"volumes: {text} must be NAME, NAME:ro or NAME:rw")
    return {"name": name, "acl": access or "ro"}


def _unknown(word: str) -> str:
    near = difflib.get_close_matches(word, WORDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(WORDS)}"
    return f"{word}: is not a word of a task{hint}"
