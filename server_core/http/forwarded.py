"""Knows what a proxy says about the client in header fields, whom to believe, and what nobody may say.

Which of the two spellings the proxy uses is a setting (``forwarded_header``), never a guess: a proxy that writes one of
them passes the other on as the client wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from server_core.config.values import EVERYONE
from server_core.errors import ProtocolError
from server_core.http.fields import Fields
from server_core.settings import Proxy

Network = IPv4Network | IPv6Network

#: names under which applications and frameworks look for what a proxy says; all of X-Forwarded-* besides
_PREFIX = "HTTP_X_FORWARDED_"
CLAIMS = {
    *("HTTP_X_REAL_IP", "HTTP_X_CLIENT_IP", "HTTP_CLIENT_IP", "HTTP_X_CLUSTER_CLIENT_IP", "HTTP_TRUE_CLIENT_IP"),
    *("HTTP_CF_CONNECTING_IP", "HTTP_FASTLY_CLIENT_IP", "HTTP_X_FORWARDED", "HTTP_X_ORIGINAL_FORWARDED_FOR"),
    *("HTTP_X_ORIGINAL_HOST", "HTTP_X_SCHEME", "HTTP_X_URL_SCHEME", "HTTP_FRONT_END_HTTPS"),
}

# RFC 7239, 4: parameter=value, the value a token or a quoted string; what follows ends the pair or the element.
_match_pair = re.compile(
    r'[ \t]*(?:([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^",; \t]+))[ \t]*)?(;|,|$)'
).match
_node = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([0-9.]+)(?::\d+)?|([0-9A-Fa-f:.]+)").fullmatch


def trusted(address: str, networks: Sequence[Network]) -> bool:
    """Is ``address`` (text; "" for a unix socket's peer) one of ``networks``?

    A unix socket's peer is trusted when anybody is: whoever may connect is decided by the socket's mode.
    """
    if not networks or not address:
        return bool(networks)
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed.version == network.version and parsed in network for network in networks)


class Forwarding:
    """The settings of the proxies in front, ready for use."""

    def __init__(self, proxy: Proxy) -> None:
        self._networks = proxy.forwarded_allow_ips
        # Where everybody is trusted, addresses tell nothing about who wrote what: only the last entry is the proxy's.
        self._hops = proxy.forwarded_hops or int(proxy.forwarded_allow_ips == EVERYONE)
        self._rfc7239 = proxy.forwarded_header == "forwarded"
        self._schemes = [
            ("HTTP_" + name.upper().replace("-", "_"), value.lower()) for name, value in proxy.secure_scheme_headers
        ]
        self._names = CLAIMS | {key for key, _ in self._schemes}

    def trusts(self, address: str) -> bool:
        """Is the peer a proxy whose word about the client counts?"""
        return trusted(address, self._networks)

    def purge(self, fields: Fields, from_trusted: bool) -> list[str]:
        """Take out what only a trusted proxy may say, and what this one does not say; returns the keys taken out."""
        says_x = from_trusted and not self._rfc7239
        says_forwarded = from_trusted and self._rfc7239
        names = self._names
        keys = [
            key
            for key in fields
            if (not says_forwarded if key == "HTTP_FORWARDED" else not says_x and (key in names or key[:17] == _PREFIX))
        ]
        for key in keys:
            del fields[key]
        return keys

    def client(self, fields: Fields) -> tuple[str, str]:
        """The client's address and the scheme it used, as told by a peer that is trusted; "" for what is not told.

        Read from the right.  With a number of hops, that many proxies are believed.  Otherwise each trusted proxy
        vouches for the one before it, and the first address that is not trusted is the client.  Raises ProtocolError
        400 when two fields contradict each other about the scheme, and for a Forwarded field that cannot be read.
        """
        entries = _elements(fields.get("HTTP_FORWARDED", "")) if self._rfc7239 else self._x_entries(fields)
        if self._hops:
            node, scheme = entries[-self._hops] if len(entries) >= self._hops else ("", "")
            return _address(node), scheme
        address, scheme = "", ""
        for node, told in reversed(entries):
            scheme = told or scheme
            found = _address(node)
            if not found:
                break
            address = found
            if not trusted(address, self._networks):
                break
        return address, scheme

    def _x_entries(self, fields: Fields) -> list[tuple[str, str]]:
        """Address and scheme for each hop, by X-Forwarded-For and the fields that tell the scheme."""
        addresses = _list(fields.get("HTTP_X_FORWARDED_FOR", "")) or [""]
        told: list[set[str]] = [set() for _ in addresses]
        for key, secure in self._schemes:
            values = _list(fields.get(key, "").lower())
            # Most proxies tell one value for all hops, some add one to a list: then the last is the nearest proxy's,
            # as with the addresses, and what stands too far to the left is a client's.
            if len(values) == 1:
                values *= len(addresses)
            for schemes, value in zip(reversed(told), reversed(values), strict=False):
                schemes.add("https" if value == secure else "http")
        if any(len(schemes) > 1 for schemes in told):
            raise ProtocolError(400, "contradictory fields about the scheme (secure_scheme_headers)")
        return [(address, "".join(schemes)) for address, schemes in zip(addresses, told, strict=True)]


def _address(node: str) -> str:
    """The IP address in a node such as ``[::1]:80``, in its usual spelling; "" when there is none."""
    found = _node(node)
    try:
        address = ip_address(found[1] or found[2] or found[3]) if found else None
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address or "")


def _list(value: str) -> list[str]:
    return [part for part in (part.strip(" \t") for part in value.split(",")) if part]


def _elements(value: str) -> list[tuple[str, str]]:
    """For each element of a Forwarded field what it says of "for" and "proto".  Raises ProtocolError 400.

    All or nothing, and from the left: behind an open quote a client could hide what its proxy has added.  And not
    nothing either: a client that spoils the field would have the address of its proxy.
    """
    elements: list[tuple[str, str]] = []
    pairs: dict[str, str] = {}
    position = 0
    while True:
        found = _match_pair(value, position)
        if found is None or (name := (found[1] or "").lower()) in pairs:
            raise ProtocolError(400, "a malformed Forwarded field")
        if name:
            pairs[name] = found[2] if found[2] is not None else found[3]
        if found[4] != ";":
            if pairs:
                scheme = pairs.get("proto", "").lower()
                elements.append((pairs.get("for", ""), scheme if scheme in ("http", "https") else ""))
            pairs = {}
        if not found[4]:
            return elements
        position = found.end()
