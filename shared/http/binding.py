"""Describe in one sentence why an address cannot be listened on."""

from __future__ import annotations

import errno
import os
import socket

from shared import errors


def refused(host: str, port: int, error: OSError) -> errors.ConfigurationError:
    """Return the sentence for an error of `bind` or of the name's lookup."""
    # `socket.create_server` wraps lookup errors, whose numbers are negative, in a plain error.
    if isinstance(error, socket.gaierror) or (error.errno or 0) < 0:
        return errors.ConfigurationError(f"cannot listen on {host}:{port}: {host} is not the name or address of a host")
    if error.errno == errno.EADDRNOTAVAIL:
        return errors.ConfigurationError(f"cannot listen on {host}:{port}: {host} is not an address of this machine")
    # `strerror` may repeat the address; the text of the number does not.
    words = os.strerror(error.errno) if error.errno else str(error)
    return errors.ConfigurationError(f"cannot listen on {host}:{port}: {words}")
