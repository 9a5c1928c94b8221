"""Common parts of user commands: the client of the context, error messages and exit codes."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import typer

from godocker_client import Client, contexts, errors
from shared.wording import texts

P = ParamSpec("P")
T = TypeVar("T")

#: Exit codes, as docs/cli.md lists them.
FAILURE, USAGE, NOT_FOUND, NO_RIGHTS, REFUSED, CONFLICT, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 5, 6, 7, 130
TIMEOUT = 124  #: of `wait`, as of timeout(1)

_JSON_ERRORS = "GODOCKER_JSON_ERRORS"
PATIENCE = "GODOCKER_PATIENCE"  #: seconds to wait for a server that does not answer
_PATIENCE = 60.0


@contextmanager
def client() -> Iterator[Client]:
    """Return a client of the context's server. New tokens are stored for the next command."""
    name, context = contexts.used()
    patience = _seconds(os.environ.get(PATIENCE, ""))
    with Client(context.url, token=context.token, user=context.user, apikey=context.apikey, patience=patience) as made:
        try:
            yield made
        finally:
            if name is not None and made.session.token != context.token:
                contexts.remember_token(name, made.session.token)


def _seconds(text: str) -> float:
    try:
        return float(text) if text else _PATIENCE
    except ValueError:
        raise errors.InvalidTask(f"{PATIENCE}: must be a number of seconds") from None


def reported(command: Callable[P, T]) -> Callable[P, T]:
    """Turn errors of the client in `command` into one line on standard error and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except errors.ClientError as error:
            print_error(error)
            raise typer.Exit(exit_code(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    return run


def exit_code(error: errors.ClientError) -> int:
    """Return the exit code for an error."""
    match error:
        case errors.NotFound():
            return NOT_FOUND
        case errors.NotLoggedIn() | errors.NotAllowed():
            return NO_RIGHTS
        case errors.Conflict():
            return CONFLICT
        case errors.ServerError():
            return FAILURE
        case errors.ApiError():
            return REFUSED
        case errors.InvalidTask():
            return USAGE
        case errors.ServerUnreachable():
            return UNREACHABLE
        case errors.TaskTimeout():
            return TIMEOUT
    return FAILURE


def print_error(error: errors.ClientError) -> None:
    """Print one line, with the id of a failed request, by which the operator finds it in the logs."""
    request_id = error.request_id if isinstance(error, errors.ApiError) else None
    if os.environ.get(_JSON_ERRORS):
        code = error.code if isinstance(error, errors.ApiError) else type(error).__name__
        said = {"error": {"code": code, "message": str(error), "request_id": request_id}}
        print(json.dumps(said), file=sys.stderr)
        return
    shown = texts.printable(str(error), keep="")
    print(f"godocker: {shown}" + (f" (request {request_id})" if request_id else ""), file=sys.stderr)
