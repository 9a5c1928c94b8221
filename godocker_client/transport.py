"""HTTP of the sync and the async client: timeouts, and answers without the library's own types."""

from __future__ import annotations

import httpx

from godocker_client.session import Answer

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
#: The server sends something into a stream every 15 seconds at least.
STREAM_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
PAUSE = 0.5  #: seconds before a broken stream is continued


def answer_of(response: httpx.Response) -> Answer:
    """Return the answer of a response that was read to its end."""
    return Answer(response.status_code, response.headers, response.content)
