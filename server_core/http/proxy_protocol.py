"""Knows the PROXY protocol, versions 1 and 2: how a proxy says at the beginning of a connection who the client is.

The source is HAProxy's "The PROXY protocol", sections 2.1 and 2.2.  Whose word counts is a setting.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from server_core.errors import ProtocolError

_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1_BEGIN = b"PROXY "
_V1_MOST = 107
_V2_HEAD = 16
#: far more than any proxy has to say; the length field would allow 64 kB
_V2_MOST = 4096

_PORT = "(0|[1-9][0-9]{0,4})"
_match_v1 = re.compile(
    rf"PROXY (?:(TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) {_PORT} {_PORT}|UNKNOWN(?: [ -~]*)?)\r\n".encode("ascii")
).fullmatch

#: family and transport of version 2 -> size of the addresses, class of one
_FAMILIES: dict[int, tuple[int, type[IPv4Address] | type[IPv6Address]]] = {
    0x11: (4, IPv4Address),
    0x21: (16, IPv6Address),
}
_TLV_SSL = 0x20


class Origin(NamedTuple):
    """What was said: the client's address and port ("" when the proxy speaks for itself), "https" if it used TLS,
    and where the request begins."""

    address: str
    port: str
    scheme: str
    end: int


def parse_origin(data: bytes, version: str) -> Origin | None:
    """Read the beginning of a connection; ``version`` is "v1", "v2" or "any".

    Returns None while it is not whole.  Raises ProtocolError 400 for what is neither.
    """
    if version != "v1" and data[: len(_V2_SIGNATURE)] == _V2_SIGNATURE[: len(data)]:
        return _parse_v2(data)
    if version != "v2" and data[: len(_V1_BEGIN)] == _V1_BEGIN[: len(data)]:
        return _parse_v1(data)
    raise ProtocolError(400, "a connection that does not begin with the PROXY protocol (proxy_protocol)")


def _parse_v1(data: bytes) -> Origin | None:
    end = data.find(b"\n", 0, _V1_MOST) + 1
    if not end:
        if len(data) >= _V1_MOST:
            raise ProtocolError(400, "a PROXY line that is too long")
        return None
    found = _match_v1(data, 0, end)
    if found is None:
        raise ProtocolError(400, "a malformed PROXY line")
    if found[1] is None:
        return Origin("", "", "", end)
    kind = IPv4Address if found[1] == b"TCP4" else IPv6Address
    try:
        source, _ = kind(found[2].decode("ascii")), kind(found[3].decode("ascii"))
    except ValueError:
        raise ProtocolError(400, "a PROXY line with a wrong address")
    if int(found[4]) > 65535 or int(found[5]) > 65535:
        raise ProtocolError(400, "a PROXY line with a wrong port")
    return Origin(str(source), found[4].decode("ascii"), "", end)


def _parse_v2(data: bytes) -> Origin | None:
    if len(data) < _V2_HEAD:
        return None
    version, command, family = data[12] >> 4, data[12] & 15, data[13]
    end = _V2_HEAD + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1 or end > _V2_MOST:
        raise ProtocolError(400, "a malformed PROXY header")
    if len(data) < end:
        return None
    # LOCAL (a health check of the proxy's own), unix sockets and datagrams: nothing that an application could use.
    if command == 0 or family not in _FAMILIES:
        return Origin("", "", "", end)
    size, kind = _FAMILIES[family]
    rest = _V2_HEAD + 2 * size + 4
    if rest > end:
        raise ProtocolError(400, "a PROXY header without room for its addresses")
    source = kind(data[_V2_HEAD : _V2_HEAD + size])
    port = int.from_bytes(data[_V2_HEAD + 2 * size : _V2_HEAD + 2 * size + 2], "big")
    return Origin(str(source), str(port), _scheme(data[rest:end]), end)


def _scheme(tlvs: bytes) -> str:
    """ "https" when the client spoke TLS with the proxy, told by a type-length-value triple (section 2.2.6)."""
    position = 0
    while position + 3 <= len(tlvs):
        kind, length = tlvs[position], int.from_bytes(tlvs[position + 1 : position + 3], "big")
        position += 3 + length
        if position > len(tlvs):
            break
        if kind == _TLV_SSL and length >= 5 and tlvs[position - length] & 1:
            return "https"
    return ""
