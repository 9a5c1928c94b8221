"""Readiness of the services of a system, by HTTP."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from shared.settings import Settings

_TIMEOUT = 1.0  #: seconds for one answer
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  #: listening address → address to connect to


def base_url(host: str, port: int) -> str:
    """Return the URL at which a local client reaches a server that listens on `host`."""
    return shown_url(_ANY.get(host, host), port)


def shown_url(host: str, port: int) -> str:
    """Return the URL of a server with its host as configured, for display."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def health_urls(settings: Settings) -> dict[str, list[str]]:
    """Return, per service, the URLs that answer 200 if the service is healthy."""
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


def unready(services: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the services of `health_urls` that are not healthy, each with the reason."""
    with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
        answers = {name: _first_complaint(client, urls) for name, urls in services.items()}
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
