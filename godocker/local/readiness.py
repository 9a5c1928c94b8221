"""Whether the services of a system answer."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from shared.settings import Settings

_TIMEOUT = 1.0  #: seconds for one answer
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  #: listened on, to be connected to at


def base_url(host: str, port: int) -> str:
    """Where a client reaches a server that listens on `host`."""
    return shown_url(_ANY.get(host, host), port)


def shown_url(host: str, port: int) -> str:
    """The address as it was asked for, to be shown."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def questions(settings: Settings) -> dict[str, list[str]]:
    """Per service the addresses that answer 200 when it is well."""
    gateway = base_url(settings.host, settings.port)
    internal = {
        "scheduler": settings.scheduler_port,
        "watcher": settings.watcher_port,
        "files": settings.files_port,
    }
    return {
        "api": [f"{gateway}/api/1.0/ping", f"{gateway}/health"],
        **{name: [f"{base_url(settings.internal_host, port)}/health"] for name, port in internal.items()},
    }


def unready(asked: Mapping[str, list[str]]) -> dict[str, str]:
    """The services of `questions` that are not well, each with what it said."""
    with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
        answers = {name: _first_complaint(client, urls) for name, urls in asked.items()}
    return {name: complaint for name, complaint in answers.items() if complaint}


def _first_complaint(client: httpx.Client, urls: list[str]) -> str | None:
    for url in urls:
        try:
            answer = client.get(url)
        except httpx.HTTPError as error:
            return f"{url} does not answer ({type(error).__name__})"
        if answer.status_code != httpx.codes.OK:
            return f"{url} answers {answer.status_code}: {answer.text[:300]}"
    return None
