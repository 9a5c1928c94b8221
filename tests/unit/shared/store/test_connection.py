"""An error of MongoDB counts as temporary unless it is known to last."""

from __future__ import annotations

import pytest
from pymongo import errors as driver_errors

from shared import errors
from shared.store import connection


def bulk(*codes: int) -> driver_errors.BulkWriteError:
    return driver_errors.BulkWriteError({"writeErrors": [{"index": 0, "code": code, "errmsg": "x"} for code in codes]})


@pytest.mark.parametrize(
    "error",
    [
        driver_errors.AutoReconnect("x"),
        driver_errors.ServerSelectionTimeoutError("x"),
        driver_errors.WTimeoutError("x", 64),
        driver_errors.OperationFailure("not primary", 10107),
        driver_errors.OperationFailure("no space left on device", 14031),
        driver_errors.OperationFailure("nobody has heard of it", 987654),
        driver_errors.OperationFailure("no code"),
        driver_errors.WriteError("disk", 8),
        driver_errors.PyMongoError("of a later driver"),
        bulk(14031),
        bulk(11000, 14031),
        driver_errors.BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64}]}),
    ],
    ids=repr,
)
def test_unknown_errors_count_as_temporary(error: Exception) -> None:
    assert connection.is_passing(error)
    with pytest.raises(errors.StoreUnavailable), connection.translation():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        driver_errors.DuplicateKeyError("x", 11000),
        driver_errors.OperationFailure("bad value", 2),
        driver_errors.OperationFailure("not allowed", 13),
        driver_errors.OperationFailure("wrong password", 18),
        driver_errors.InvalidOperation("x"),
        driver_errors.ConfigurationError("x"),
        bulk(11000),
        bulk(11000, 2),
        ValueError("ours"),
    ],
    ids=repr,
)
def test_lasting_errors_are_not_retried(error: Exception) -> None:
    assert not connection.is_passing(error)
    with pytest.raises(type(error)), connection.translation():
        raise error


def test_a_conflicting_transaction_is_retried_without_blaming_the_server() -> None:
    met = driver_errors.OperationFailure(
        "WriteConflict", 112, {"code": 112, "errorLabels": ["TransientTransactionError"]}
    )
    with pytest.raises(driver_errors.OperationFailure), connection.translation():
        raise met
