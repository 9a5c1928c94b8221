"""The origin of a request, as limits on logins count it: pure."""

from __future__ import annotations

import ipaddress

_PREFIX = 64  #: bits of the IPv6 prefix that a site is given (RFC 6177)


def origin_of(address: str) -> str:
    """
    Return the origin under which requests from `address` are counted: the address, or the /64 of an IPv6 one. Other text is
    returned as it is.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:  # an IPv4 client on a socket for both
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _PREFIX), strict=False))
