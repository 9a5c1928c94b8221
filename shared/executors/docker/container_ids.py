"""Ids of our containers that were seen: an id is never reused for another container."""

from __future__ import annotations

from collections.abc import Collection

from shared.executors import types


class Known:
    """
    The containers of one node that were seen with our labels. An action by id cannot hit another owner's container, even if
    that has the name by now.
    """

    def __init__(self) -> None:
        self._ids: dict[types.Handle, str] = {}
        self._handles: dict[str, types.Handle] = {}  #: by container id

    def note(self, handle: types.Handle, identifier: str) -> None:
        if (before := self._ids.get(handle)) is not None:
            self._handles.pop(before, None)
        self._ids[handle] = identifier
        self._handles[identifier] = handle

    def of(self, handle: types.Handle) -> str | None:
        """Return the container's id; None where it was not seen."""
        return self._ids.get(handle)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._handles

    def take(self, handle: types.Handle) -> str | None:
        """Remove and return the container's id; None where it was not seen."""
        identifier = self._ids.pop(handle, None)
        if identifier is not None:
            self._handles.pop(identifier, None)
        return identifier

    def keep(self, identifiers: Collection[str]) -> None:
        """Forget all others. A container that is forgotten too early is simply looked up again."""
        self._ids = {handle: identifier for handle, identifier in self._ids.items() if identifier in identifiers}
        self._handles = {identifier: handle for handle, identifier in self._ids.items()}

    def __len__(self) -> int:
        return len(self._ids)
