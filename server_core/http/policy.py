"""Knows which well-spelt requests we accept, each rule with its RFC section; how they are spelt is head's.

The rules hold for every worker class, whichever bytes it read and however it waited for them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address

from server_core.errors import ProtocolError
from server_core.http.fields import Fields

#: value of ``length`` for a chunked body
CHUNKED = -1

#: path (raw), query (raw), may the connection persist, body length in bytes or CHUNKED, is 100-continue awaited
Admitted = tuple[str, str, bool, int, bool]

_split_absolute = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)([^?]*)(?:\?(.*))?").fullmatch
# RFC 3986, 3.2.2 and 3.2.3.  No userinfo: RFC 9110, 4.2.4.
_split_host = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|((?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+))(?::([0-9]{0,5}))?"
).fullmatch
_is_length = re.compile(r"[0-9]{1,19}").fullmatch
_is_coding_list = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*").fullmatch


def admit(method: str, target: str, minor: int, fields: Fields) -> Admitted:
    """Judge a request by its request line and fields; for absolute-form ``fields["HTTP_HOST"]`` is set from the target.

    Raises ProtocolError 400, 417 or 501.
    """
    host = fields.get("HTTP_HOST")
    if host is None:
        if minor:  # RFC 9112, 3.2: a 1.1 request has exactly one Host
            raise ProtocolError(400, "no Host field")
    elif not valid_host(host):
        raise ProtocolError(400, "an invalid Host field")
    if target[0] == "/" and method != "CONNECT":
        path, _, query = target.partition("?")
    else:
        path, query = _other_form(method, target, fields)
    connection = fields.get("HTTP_CONNECTION")
    if connection is None:
        keep_alive = minor == 1
    else:  # RFC 9110, 7.6.1 and RFC 9112, 9.3
        options = [option.strip(" \t") for option in connection.lower().split(",")]
        keep_alive = "close" not in options and (minor == 1 or "keep-alive" in options)
    if "HTTP_TRANSFER_ENCODING" in fields:
        length = _chunked(minor, fields)
    elif "CONTENT_LENGTH" in fields:
        if not _is_length(fields["CONTENT_LENGTH"]):  # RFC 9112, 6.3: neither a list, nor a sign, nor other digits
            raise ProtocolError(400, "an invalid Content-Length field")
        length = int(fields["CONTENT_LENGTH"])
    else:
        length = 0
    expects = False
    if "HTTP_EXPECT" in fields and minor:  # RFC 9110, 10.1.1
        if fields["HTTP_EXPECT"].lower() != "100-continue":
            raise ProtocolError(417, "an unknown expectation")
        expects = length != 0
    return path, query, keep_alive, length, expects


def _other_form(method: str, target: str, fields: Fields) -> tuple[str, str]:
    """Path and query of a target that is not origin-form (RFC 9112, 3.2)."""
    if method == "CONNECT":
        raise ProtocolError(501, "CONNECT is for proxies")
    if target == "*":
        if method != "OPTIONS":
            raise ProtocolError(400, "the target * is for OPTIONS")
        return "", ""  # PEP 3333 knows no "*": the application sees the whole server as the empty path
    found = _split_absolute(target)
    if found is None or not valid_host(found[1]):
        raise ProtocolError(400, "the target is neither a path nor a valid absolute URI")
    fields["HTTP_HOST"] = found[1]  # RFC 9112, 3.2.2: the target's authority replaces the Host field
    return found[2] or "/", found[3] or ""


def path_and_query(target: str) -> str:
    """Of a target that was admitted, in one piece, as it was sent; "" for "*", which is the server as a whole."""
    if target[0] == "/":
        return target
    found = _split_absolute(target)
    if found is None:
        return ""
    return (found[2] or "/") + ("" if found[3] is None else f"?{found[3]}")


def _chunked(minor: int, fields: Fields) -> int:
    """The one framing by Transfer-Encoding that we accept (RFC 9112, 6.1); everything doubtful is an attack."""
    coding = fields["HTTP_TRANSFER_ENCODING"].lower()
    if minor == 0:
        raise ProtocolError(400, "Transfer-Encoding in an HTTP/1.0 request")
    if "CONTENT_LENGTH" in fields:
        raise ProtocolError(400, "both Transfer-Encoding and Content-Length")
    if coding == "chunked":
        return CHUNKED
    codings = [part.strip(" \t") for part in coding.split(",")]
    if _is_coding_list(coding) and codings[-1] == "chunked" and "chunked" not in codings[:-1]:
        raise ProtocolError(501, "a transfer coding other than chunked")
    raise ProtocolError(400, "an invalid Transfer-Encoding field")


@lru_cache(maxsize=512)
def host_is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    """Is ``host``, a valid Host field, one of ``allowed``: ``example.org``, ``.example.org`` with subdomains, ``*``?

    As Django has it: capitals, the port and a dot at the end do not count.
    """
    name = host.lower()
    if not name.endswith("]"):  # an IPv6 address without a port
        name = name.rpartition(":")[0] or name
    name = name.removesuffix(".")
    return any(
        pattern in ("*", name) or (pattern[:1] == "." and (name.endswith(pattern) or name == pattern[1:]))
        for pattern in map(str.lower, allowed)
    )


@lru_cache(maxsize=512)
def valid_host(host: str) -> bool:
    """Is this a host with an optional port (RFC 9110, 7.2)?  Cached, as a server sees few names."""
    found = _split_host(host)
    if found is None or int(found[3] or 0) > 65535:
        return False
    if found[1] is not None:
        try:
            IPv6Address(found[1])
        except ValueError:
            return False
    return True
