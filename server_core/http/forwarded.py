"""Knows what a trusted proxy says about the client; whom to trust is a setting, and strangers are never asked.

Which of the two spellings the proxy uses is a setting too (``forwarded_header``), never a guess: a proxy that writes
one of them passes the other on as the client wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from server_core.http.fields import Fields

Network = IPv4Network | IPv6Network

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


def client(fields: Fields, header: str, networks: Sequence[Network]) -> tuple[str, str]:
    """The client's address and the scheme it used, as told by a peer that is trusted.

    ``header`` is ``"x-forwarded"`` or ``"forwarded"``.  Read from the right: each trusted proxy vouches for the one
    before it, and the first address that is not trusted is the client.  "" stands for what is not told or not valid.
    """
    if header == "forwarded":
        hops = _elements(fields.get("HTTP_FORWARDED", ""))
    else:
        schemes = _list(fields.get("HTTP_X_FORWARDED_PROTO", ""))
        addresses = _list(fields.get("HTTP_X_FORWARDED_FOR", ""))
        # One scheme is told for all hops by most proxies, a list with one for each hop by some.
        if len(schemes) != len(addresses):
            schemes = schemes[-1:] * max(len(addresses), 1)
        addresses = addresses or [""]
        hops = list(zip(addresses, schemes or [""] * len(addresses), strict=True))
    address, scheme = "", ""
    for node, told in reversed(hops):
        scheme = told.lower() if told.lower() in ("http", "https") else scheme
        found = _node(node)
        if found is None:
            break
        try:
            address = str(ip_address(found[1] or found[2] or found[3]))
        except ValueError:
            break
        if not trusted(address, networks):
            break
    return address, scheme


def _list(value: str) -> list[str]:
    return [part for part in (part.strip(" \t") for part in value.split(",")) if part]


def _elements(value: str) -> list[tuple[str, str]]:
    """For each element of a Forwarded field what it says of "for" and "proto"; [] for a field that is misspelt.

    All or nothing, and from the left: behind an open quote a client could hide what its proxy has added.
    """
    elements: list[tuple[str, str]] = []
    pairs: dict[str, str] = {}
    position = 0
    while True:
        found = _match_pair(value, position)
        if found is None or (name := (found[1] or "").lower()) in pairs:
            return []
        if name:
            pairs[name] = found[2] if found[2] is not None else found[3]
        if found[4] != ";":
            if pairs:
                elements.append((pairs.get("for", ""), pairs.get("proto", "")))
            pairs = {}
        if not found[4]:
            return elements
        position = found.end()
