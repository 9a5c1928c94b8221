"""The origin of a request, as far as somebody can be held to it: pure."""

from __future__ import annotations

import ipaddress

_PREFIX = 64  #: bits of an IPv6 address that are given out; whoever has them has all that begin with them (RFC 6177)


def origin_of(address: str) -> str:
    """
    What tries from `address` are counted under: the address, or the /64 of an IPv6 one. What is no address is taken as it is.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:  # how IPv4 arrives on a socket that takes both
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _PREFIX), strict=False))
