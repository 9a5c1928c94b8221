"""Check URLs of servers before anything connects to them, and show them without passwords. Pure."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote, urlsplit

_MONGO = ("mongodb://", "mongodb+srv://")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.%]+\]")
_NAME_OR_ADDRESS = re.compile(r"[A-Za-z0-9_:.%-]*")


def check_mongo(url: str) -> str:
    """Return the URL of a MongoDB. Raises ValueError, without the password, if it is malformed."""
    scheme = next((one for one in _MONGO if url.startswith(one)), None)
    if scheme is None:
        raise ValueError("must begin with mongodb:// or mongodb+srv://")
    where = url.removeprefix(scheme).partition("?")[0].partition("/")[0]
    login, _, hosts = where.rpartition("@")
    if any(sign in login for sign in "@[]") or login.count(":") > 1 or _ESCAPE.search(login):
        raise ValueError("has a user or password with special characters: write them as %XX, for example %40 for @")
    for host in hosts.split(","):
        _check_host(host, srv=scheme == _MONGO[1])
    return url


def _check_host(host: str, *, srv: bool) -> None:
    if host.lower().endswith(".sock"):
        return
    match = re.fullmatch(r"(\[.*\]|[^:]*)(?::(.*))?", host)
    name, port = match.groups() if match else (host, None)
    if not name:
        raise ValueError("names no host: it looks like mongodb://HOST:27017/?replicaSet=rs0")
    if not _HOST.fullmatch(name):
        raise ValueError("has a host that is neither a name nor an address")
    if port is None:
        return
    if srv:
        raise ValueError("has a port, which mongodb+srv:// takes from DNS: leave it out")
    _check_port(port)


def _check_port(port: str) -> None:
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError("has a port that is not a number from 1 to 65535")


def check_http(url: str) -> str:
    """Return the URL of a service. Raises ValueError if it is malformed."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("must be a URL that begins with http:// or https://")
    check_place(url)
    return url


def check_place(url: str) -> None:
    """Raise ValueError unless a URL has a host and a valid port, if any."""
    place = url.partition("://")[2].partition("/")[0]
    if "@" in place:
        raise ValueError("must not contain a user or password")
    match = re.fullmatch(r"(\[.*\]|[^:]*)(?::(.*))?", place)
    if match is None or not _HOST.fullmatch(match[1] or ""):
        raise ValueError("must name a host, and may name a port, like //host.example.org:2376")
    if match[2] is not None:
        _check_port(match[2])


def check_host(name: str) -> str:
    """Return the name or address of a host. Raises ValueError for any other text."""
    if not _NAME_OR_ADDRESS.fullmatch(name):
        raise ValueError("must be the name or address of a host")
    return name


def check_reachable(name: str) -> str:
    """Return the name or address of a host as it stands in published URLs, without a port. Raises ValueError."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        if name.startswith("[") or not _HOST.fullmatch(name):
            raise ValueError("must be the name or address of a host, without scheme and port") from None
        return name
    if address.is_unspecified or "%" in name:
        raise ValueError("must be an address that users can connect to")
    return name


def http(host: str, port: int) -> str:
    """Return `http://host:10001`, with the brackets that an IPv6 address needs (RFC 3986, 3.2.2)."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def mongo_hosts(url: str) -> str:
    """Return the servers of a MongoDB URL without the login: `127.0.0.1:27017`."""
    where = url.partition("://")[2].partition("?")[0].partition("/")[0]
    return unquote(where.rpartition("@")[2])


def shown(url: str) -> str:
    """Return a URL without its password."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return f"{url.partition('://')[0]}://…"
    return url.replace(f":{password}@", ":…@", 1) if password else url
