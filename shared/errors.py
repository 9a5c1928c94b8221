"""
The tree of errors that GoDocker raises on purpose.

    GoDockerError
    ├── ConfigurationError          the start is refused
    │   └── SchemaTooNew            what is stored is of a later version
    ├── RequestError                what a caller asked for cannot be done
    │   ├── InvalidInput            a field breaks a rule
    │   ├── BodyTooLarge
    │   ├── BodyIncomplete          it did not arrive, or not in time
    │   ├── QuotaExceeded           of the personal storage
    │   ├── PreconditionFailed      of a conditional request
    │   ├── RangeNotSatisfiable     of a file, with its size
    │   ├── NotAuthenticated
    │   │   └── TokenExpired
    │   ├── NotAllowed
    │   ├── NotFound
    │   │   └── TaskNotFound
    │   ├── Conflict
    │   ├── KeyReused               an Idempotency-Key that came with another body before
    │   ├── TooManyRequests         with the seconds to wait
    │   └── InMaintenance
    ├── InvalidTransition           the lifecycle table has no such edge
    ├── Unavailable                 something outside does not answer
    │   ├── StoreUnavailable        MongoDB
    │   ├── BrokerUnavailable       Redis
    │   ├── FilesUnavailable        the files service
    │   ├── SchedulerUnavailable    the scheduler that leads
    │   ├── StorageUnavailable      shared_dir, with what is wrong with it
    │   │   └── StorageFull         its disk
    │   ├── DirectoryUnavailable    the LDAP directory of users
    │   ├── MailUnavailable         the mail server; it may have taken the mail
    │   └── NodeUnavailable         a Docker host; what it was asked may or may not have happened
    ├── StartFailed                 a node answered that an attempt cannot be started: nothing runs
    │   ├── ImageNotFound
    │   ├── ImageNotAllowed
    │   ├── ImageUnreachable        the registry does not answer, or not in time
    │   ├── ImageThrottled          the registry wants fewer pulls, with the seconds to wait
    │   ├── PortTaken               of the node, by somebody who is not a task
    │   ├── NodeFull                the node has no disk or no addresses left for it
    │   ├── NodeUnwell              something is wrong with the node
    │   └── StartRefused            the engine or the system refused, with its words
    ├── BackupFailed                a backup could not be made or loaded
    │   └── BackupUnusable          it is not whole, or none of ours
    ├── LoopBroken                  a service's loop, which is begun again
    ├── TransferBroken              a file could not be sent to its end
    ├── MailRefused                 the mail server will never take this mail
    └── StorageError                a task's directory could not be made or read

The docstring of a class is the sentence a user could read. Adapters translate their driver's errors into these; the
gateway has one table from error to HTTP status (`services/api/http/errors.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


class GoDockerError(Exception):
    """Something went wrong that GoDocker knows about."""


def word_of(error: Exception) -> str:
    """The name of an error as metrics and logs spell it, `image_not_found`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


class ConfigurationError(GoDockerError):
    """The configuration cannot be used."""


class SchemaTooNew(ConfigurationError):
    """What is stored is of a version that is newer than this one by more than one."""

    def __init__(self, stored: int, known: int) -> None:
        super().__init__(
            f"the database has schema version {stored}, and this is a GoDocker of version {known}, which works with "
            f"{known + 1} at most: start one that is newer"
        )
        self.stored = stored
        self.known = known


# --- what callers are told ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that broke one rule: `path` is dotted (`requirements.cpu`), `rule` a sentence."""

    path: str
    rule: str


class RequestError(GoDockerError):
    """The request cannot be carried out."""


class InvalidInput(RequestError):
    """A field of the request breaks a rule."""

    def __init__(self, fields: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{field.path}: {field.rule}" for field in fields))
        self.fields = tuple(fields)

    @classmethod
    def of(cls, path: str, rule: str) -> InvalidInput:
        """The usual case: one field, one rule."""
        return cls([FieldError(path, rule)])


class BodyTooLarge(RequestError):
    """The request's body is larger than is accepted."""


class BodyIncomplete(RequestError):
    """The request's body did not arrive to its end, or not in time."""


class QuotaExceeded(RequestError):
    """The file does not fit into what is left of the personal storage."""


class PreconditionFailed(RequestError):
    """The file is not the one that the request was made for."""


class RangeNotSatisfiable(RequestError):
    """The file has none of the bytes that were asked for."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes")
        self.size = size


class NotAuthenticated(RequestError):
    """Who is asking could not be established."""


class TokenExpired(NotAuthenticated):
    """The token has expired: get a new one by POST /api/1.0/authenticate."""


class NotAllowed(RequestError):
    """The caller is known but has no right to this."""


class NotFound(RequestError):
    """There is no such thing, or not for this caller."""


class TaskNotFound(NotFound):
    """There is no such task, or not for this caller."""

    def __init__(self, task_id: int) -> None:
        super().__init__(f"no task {task_id}")


class Conflict(RequestError):
    """The thing exists already, or is not in a state that allows this."""


class KeyReused(RequestError):
    """The Idempotency-Key came with another body before: a new request needs a new key."""


class TooManyRequests(RequestError):
    """A limit was reached; try again later."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  #: seconds


class InMaintenance(RequestError):
    """The system is in maintenance and takes no new tasks for the moment."""

    retry_after = 60.0  #: seconds


# --- the lifecycle --------------------------------------------------------------


class InvalidTransition(GoDockerError):
    """The lifecycle table has no edge between the two statuses."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"no transition from {old} to {new}")
        self.old = old
        self.new = new


# --- what is outside --------------------------------------------------------------


class Unavailable(GoDockerError):
    """A part that this depends on does not answer."""


class StoreUnavailable(Unavailable):
    """The database does not answer."""


class BrokerUnavailable(Unavailable):
    """The broker does not answer."""


class FilesUnavailable(Unavailable):
    """The files service does not answer."""


class SchedulerUnavailable(Unavailable):
    """No scheduler leads, or it does not answer."""


class StorageUnavailable(Unavailable):
    """The shared directory cannot be used at the moment."""

    def __init__(self, message: str, *, trouble: str = "") -> None:
        super().__init__(message)
        self.trouble = trouble or message  #: in a few words


class StorageFull(StorageUnavailable):
    """The disk of the shared directory is full."""


class DirectoryUnavailable(Unavailable):
    """The directory of users does not answer; API keys work all the same."""


class MailUnavailable(Unavailable):
    """The mail server does not answer, or does not take the mail now."""


class NodeUnavailable(Unavailable):
    """The node does not answer; whether it did what it was asked is not known."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"node {node} does not answer: {reason}")
        self.node = node
        self.reason = reason


class StartFailed(GoDockerError):
    """The attempt could not be started, and nothing of it runs."""


class ImageNotFound(StartFailed):
    """The image does not exist, neither on the node nor in its registry."""


class ImageNotAllowed(StartFailed):
    """The registry did not allow the image to be pulled."""


class ImageUnreachable(StartFailed):
    """The image is not on the node and its registry could not be reached, or not in time."""


class ImageThrottled(StartFailed):
    """The registry has had too many requests from the node; the pull may be tried again later."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  #: seconds


class PortTaken(StartFailed):
    """A port of the node that the attempt was given is in use by somebody else there."""

    def __init__(self, message: str, *, port: int | None) -> None:
        super().__init__(message)
        self.port = port  #: of the node; None where the engine did not say which


class NodeFull(StartFailed):
    """The node has no room left for what the attempt needs; another node may, or this one later."""

    def __init__(self, message: str, *, trouble: str | None = None) -> None:
        super().__init__(message)
        self.trouble = trouble  #: in a few words, where no other attempt would have room either


class NodeUnwell(StartFailed):
    """Something is wrong with the node, such as a lack of descriptors or a disk with errors; the attempt may be made later."""

    def __init__(self, message: str, *, trouble: str | None = None) -> None:
        super().__init__(message)
        self.trouble = trouble  #: in a few words, where no other attempt could be started either


class StartRefused(StartFailed):
    """The node refused to start the attempt."""


class BackupFailed(GoDockerError):
    """The backup could not be made, or not be loaded."""


class BackupUnusable(BackupFailed):
    """The backup is not whole, or not one of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the backup cannot be used: {reason}")


class LoopBroken(GoDockerError):
    """A part of the service broke, and was begun again."""


class TransferBroken(GoDockerError):
    """A file could not be sent to its end."""


class MailRefused(GoDockerError):
    """The mail server does not take the mail, now or later."""


class StorageError(GoDockerError):
    """A task's directory could not be prepared or read."""
