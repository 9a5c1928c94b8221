"""
The tree of errors that GoDocker raises on purpose.

    GoDockerError
    ├── ConfigurationError          refuses the start
    │   └── SchemaTooNew            the database has a later version
    ├── RequestError                a request cannot be carried out
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
    │   ├── KeyReused               an Idempotency-Key was used with another body before
    │   ├── TooManyRequests         with the seconds to wait
    │   └── InMaintenance
    ├── InvalidTransition           the lifecycle table has no such transition
    ├── Unavailable                 another part does not answer
    │   ├── StoreUnavailable        MongoDB
    │   ├── BrokerUnavailable       Redis
    │   ├── FilesUnavailable        the files service
    │   ├── SchedulerUnavailable    the leading scheduler
    │   ├── StorageUnavailable      shared_dir, with the reason
    │   │   └── StorageFull         its disk
    │   ├── DirectoryUnavailable    the LDAP directory of users
    │   ├── MailUnavailable         the mail server; it may have taken the mail
    │   └── NodeUnavailable         a Docker host; the request may or may not have been carried out
    ├── StartFailed                 an attempt cannot be started; nothing of it runs
    │   ├── ImageNotFound
    │   ├── ImageNotAllowed
    │   ├── ImageUnreachable        the registry does not answer, or not in time
    │   ├── ImageThrottled          the registry limits pulls, with the seconds to wait
    │   ├── PortTaken               by something on the node that is not a task
    │   ├── NodeFull                the node has no disk space or no addresses left
    │   ├── NodeUnwell              the node has a fault
    │   └── StartRefused            the engine or the system refused, in its words
    ├── BackupFailed                a backup could not be made or loaded
    │   └── BackupUnusable          it is incomplete, or not a backup
    ├── LoopBroken                  a loop of a service failed and was restarted
    ├── TransferBroken              a file could not be sent completely
    ├── MailRefused                 the mail server will never take this mail
    └── StorageError                a task's directory could not be made or read

The docstring of a class is a sentence for users. Adapters translate their driver's errors into these; the gateway has one table
from error to HTTP status (`services/api/http/errors.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


class GoDockerError(Exception):
    """Base of all errors that GoDocker raises on purpose."""


def word_of(error: Exception) -> str:
    """Return the name of an error as in metrics and logs, `image_not_found`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


class ConfigurationError(GoDockerError):
    """The configuration cannot be used."""


class SchemaTooNew(ConfigurationError):
    """The database has a schema version that is too new for this GoDocker."""

    def __init__(self, stored: int, known: int) -> None:
        super().__init__(
            f"the database has schema version {stored}, but this GoDocker has version {known} and works with "
            f"{known + 1} at most: start a newer one"
        )
        self.stored = stored
        self.known = known


# --- what callers are told ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldError:
    """A broken rule of one field: `path` is dotted (`requirements.cpu`), `rule` a sentence."""

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
        """Return the error for one field and one rule."""
        return cls([FieldError(path, rule)])


class BodyTooLarge(RequestError):
    """The request's body is too large."""


class BodyIncomplete(RequestError):
    """The request's body did not arrive completely, or not in time."""


class QuotaExceeded(RequestError):
    """The file does not fit into the personal storage."""


class PreconditionFailed(RequestError):
    """The file is not the one that the request is about."""


class RangeNotSatisfiable(RequestError):
    """The file has none of the requested bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes")
        self.size = size


class NotAuthenticated(RequestError):
    """The caller could not be authenticated."""


class TokenExpired(NotAuthenticated):
    """The token has expired: get a new one by POST /api/1.0/authenticate."""


class NotAllowed(RequestError):
    """The caller has no right to this."""


class NotFound(RequestError):
    """There is no such thing, or not for this caller."""


class TaskNotFound(NotFound):
    """There is no such task, or not for this caller."""

    def __init__(self, task_id: int) -> None:
        super().__init__(f"no task {task_id}")


class Conflict(RequestError):
    """The thing exists already, or its state does not allow this."""


class KeyReused(RequestError):
    """The Idempotency-Key was used with another body before: a new request needs a new key."""


class TooManyRequests(RequestError):
    """A limit was reached; try again later."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  #: seconds


class InMaintenance(RequestError):
    """The system is in maintenance and takes no new tasks at the moment."""

    retry_after = 60.0  #: seconds


# --- the lifecycle --------------------------------------------------------------


class InvalidTransition(GoDockerError):
    """The lifecycle table has no transition between the two statuses."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"no transition from {old} to {new}")
        self.old = old
        self.new = new


# --- what is outside --------------------------------------------------------------


class Unavailable(GoDockerError):
    """A required part does not answer."""


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
    """The directory of users does not answer; API keys still work."""


class MailUnavailable(Unavailable):
    """The mail server does not answer, or does not take the mail now."""


class NodeUnavailable(Unavailable):
    """The node does not answer; the request may or may not have been carried out."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"node {node} does not answer: {reason}")
        self.node = node
        self.reason = reason


class StartFailed(GoDockerError):
    """The attempt could not be started; nothing of it runs."""


class ImageNotFound(StartFailed):
    """The image exists neither on the node nor in its registry."""


class ImageNotAllowed(StartFailed):
    """The registry did not allow the pull of the image."""


class ImageUnreachable(StartFailed):
    """The image is not on the node, and its registry did not answer in time."""


class ImageThrottled(StartFailed):
    """The registry limits pulls from the node; the pull may be retried later."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  #: seconds


class PortTaken(StartFailed):
    """A port of the node that the attempt was given is used by something else there."""

    def __init__(self, message: str, *, port: int | None) -> None:
        super().__init__(message)
        self.port = port  #: port of the node; None if the engine did not say which


class NodeFull(StartFailed):
    """The node has no room for the attempt; another node may, or this one later."""

    def __init__(self, message: str, *, trouble: str | None = None) -> None:
        super().__init__(message)
        self.trouble = trouble  #: in a few words, if no other attempt would have room either


class NodeUnwell(StartFailed):
    """The node has a fault, such as a lack of descriptors or disk errors; the attempt may be retried later."""

    def __init__(self, message: str, *, trouble: str | None = None) -> None:
        super().__init__(message)
        self.trouble = trouble  #: in a few words, if no other attempt could be started either


class StartRefused(StartFailed):
    """The node refused to start the attempt."""


class BackupFailed(GoDockerError):
    """The backup could not be made or loaded."""


class BackupUnusable(BackupFailed):
    """The backup is incomplete, or not a backup of GoDocker."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the backup cannot be used: {reason}")


class LoopBroken(GoDockerError):
    """A loop of the service failed and was restarted."""


class TransferBroken(GoDockerError):
    """A file could not be sent completely."""


class MailRefused(GoDockerError):
    """The mail server does not take the mail, now or later."""


class StorageError(GoDockerError):
    """A task's directory could not be prepared or read."""
