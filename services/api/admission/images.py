"""Check image references, their grammar and their registry: pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

# The grammar of the distribution project's `reference` package: [domain/]path[:tag][@digest].
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]{1,5})?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
MAX_LENGTH = 255
DEFAULT = "docker.io"  #: the registry of a reference that names none


def problem_of(reference: str, *, allowed_registries: Sequence[str] | None) -> str | None:
    """
    Return the rule that an image reference breaks, as a sentence; None if it breaks none.

    `allowed_registries` None allows every registry except internal addresses and names: the engine would fetch from
    there on behalf of a stranger.
    """
    if len(reference) > MAX_LENGTH:
        return f"must be an image reference of at most {MAX_LENGTH} characters"
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return "must be an image reference such as debian:12 or registry.example.org/group/image:tag"
    registry = registry_of(match["domain"])
    if allowed_registries is not None:
        if registry not in allowed_registries:
            return f"comes from registry {registry}; allowed are: {', '.join(allowed_registries) or 'none'}"
    elif _is_internal(registry):
        return f"comes from registry {registry}, an internal address"
    return None


def registry_in(reference: str) -> str | None:
    """Return the registry of an image reference; None if it is not a valid reference."""
    match = _REFERENCE.fullmatch(reference)
    return registry_of(match["domain"]) if match else None


def registry_of(domain: str | None) -> str:
    """
    Return the registry for the first part of a reference: a word without dot or port is a folder of the default one.
    """
    if domain and ("." in domain or ":" in domain or domain == "localhost"):
        return domain.lower()
    return DEFAULT


def _is_internal(registry: str) -> bool:
    host = registry.rsplit(":", 1)[0]
    if host.endswith((".localhost", ".local", ".internal")) or _embeds_internal(host):
        return True
    if re.fullmatch(r"[0-9.]+|0x[0-9a-f.x]+", host):
        # Includes spellings of an address that only some resolvers understand: 127.1, 2130706433.
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return True
        return not address.is_global or address.is_multicast
    # A name without a dot (`localhost`, `mongo:27017`) resolves only inside a network.
    return "." not in host


#: Public names that resolve to the address in them: `10.0.0.1.nip.io`, `app-10-0-0-1.sslip.io`, `7f000001.nip.io`.
_EMBEDDED = re.compile(r"(?<![0-9])([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})(?![0-9])")
_EMBEDDED_HEX = re.compile(r"(?:^|[.-])([0-9a-f]{8})\.(?:nip|sslip|xip)\.io")


def _embeds_internal(host: str) -> bool:
    """Return whether a name contains an internal address that some name servers resolve it to."""
    embedded = [".".join(quad) for quad in _EMBEDDED.findall(host)]
    embedded += [str(ipaddress.IPv4Address(int(digits, 16))) for digits in _EMBEDDED_HEX.findall(host)]
    return any(is_internal_address(address) for address in embedded)


def is_internal_address(text: str) -> bool:
    """
    Return whether `text` is an address of a private network, of this machine, or unassigned; False if it is not an
    address.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and (inner := address.ipv4_mapped or address.sixtofour):
        return is_internal_address(str(inner))
    return not address.is_global or address.is_multicast
