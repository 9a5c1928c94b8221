"""Read-only HTTP requests to a Docker Engine."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from shared import errors
from shared.settings import Node

DEFAULT_URL = "unix:///var/run/docker.sock"
ANSWER_TIMEOUT = 2.0  #: seconds


def configured(environment: Mapping[str, str]) -> Node:
    """Return the engine that Docker's own clients would use: DOCKER_HOST, else the default socket."""
    url = environment.get("DOCKER_HOST") or DEFAULT_URL
    certificates = environment.get("DOCKER_CERT_PATH")
    if not url.startswith("tcp://") or not environment.get("DOCKER_TLS_VERIFY") or not certificates:
        return Node(name="localhost", url=url)
    folder = Path(certificates)
    return Node(
        name="localhost",
        url=url,
        tls_ca=folder / "ca.pem",
        tls_cert=folder / "cert.pem",
        tls_key=folder / "key.pem",
    )


def answers(node: Node) -> bool:
    """Return whether the engine answers within `ANSWER_TIMEOUT`."""
    try:
        ask(node, "/version")
    except errors.NodeUnavailable:
        return False
    return True


def ask(node: Node, path: str) -> dict[str, Any]:
    """Return the engine's answer to GET `path`. Raises `errors.NodeUnavailable`."""
    if node.url.startswith("unix://") and not Path(node.url.removeprefix("unix://")).is_socket():
        raise errors.NodeUnavailable(node.name, f"there is no socket at {node.url}")
    _check_certificates(node)
    try:
        with client(node) as http:
            answer = http.get(path).raise_for_status()
            content = answer.json()
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise errors.NodeUnavailable(node.name, f"{node.url}: {error or type(error).__name__}") from None
    return content if isinstance(content, dict) else {}


def _check_certificates(node: Node) -> None:
    """Raise `errors.NodeUnavailable` with the name of the first TLS file that cannot be read."""
    for name in ("tls_ca", "tls_cert", "tls_key"):
        file = getattr(node, name)
        if file is None:
            continue
        try:
            file.read_bytes()
        except OSError as error:
            raise errors.NodeUnavailable(node.name, f"{name}: {file} cannot be read: {error.strerror}") from None


def client(node: Node, timeout: float = ANSWER_TIMEOUT) -> httpx.Client:
    """Return an HTTP client of the engine. `timeout` is in seconds."""
    if node.url.startswith("unix://"):
        transport = httpx.HTTPTransport(uds=node.url.removeprefix("unix://"))
        return httpx.Client(transport=transport, base_url="http://docker", timeout=timeout)
    _, _, address = node.url.partition("://")
    if node.tls_ca is None and node.tls_cert is None:
        scheme = "https" if node.url.startswith("https://") else "http"
        return httpx.Client(base_url=f"{scheme}://{address}", timeout=timeout, trust_env=False)
    context = ssl.create_default_context(cafile=str(node.tls_ca) if node.tls_ca else None)
    if node.tls_cert:
        context.load_cert_chain(str(node.tls_cert), str(node.tls_key) if node.tls_key else None)
    return httpx.Client(base_url=f"https://{address}", verify=context, timeout=timeout, trust_env=False)
