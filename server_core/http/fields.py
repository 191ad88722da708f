"""Knows how field lines become one mapping with CGI names (RFC 3875, 4.1.18); not what any field means.

The keys are those of a WSGI environ, because both gateways and policy read them and a second mapping would cost a
second pass: ``Content-Length`` is ``CONTENT_LENGTH``, ``Accept`` is ``HTTP_ACCEPT``.
"""

from __future__ import annotations

from server_core.errors import ProtocolError

Fields = dict[str, str]

# Names that are not passed on: httpoxy (CVE-2016-5385) made HTTP_PROXY of this one.
DROPPED = frozenset({"proxy"})
# PEP 3333 takes these two without the prefix.
UNPREFIXED = frozenset({"CONTENT_LENGTH", "CONTENT_TYPE"})
# A second line of these is refused: two readers of the request could choose differently (RFC 9110 5.3, 7.2, 8.6).
SINGLE = {"HTTP_HOST": "Host", "CONTENT_LENGTH": "Content-Length", "CONTENT_TYPE": "Content-Type"}

_MAX_KNOWN_NAMES = 1024


class _Keys(dict[str, str]):
    """Field name as it was spelt -> key; "" for a name that is dropped.  Bounded, for clients invent names."""

    def __missing__(self, name: str) -> str:
        key = name.upper().replace("-", "_")
        # X_Forwarded_For and X-Forwarded-For would have one key: a name with "_" could pass for a trusted one.
        if "_" in name or name.lower() in DROPPED:
            key = ""
        elif key not in UNPREFIXED:
            key = "HTTP_" + key
        if len(self) < _MAX_KNOWN_NAMES:
            self[name] = key
        return key


_KEYS = _Keys()
#: the key of a field name as it was spelt, "" for one that is dropped
key_of = _KEYS.__getitem__


def combine(lines: list[tuple[str, str]]) -> Fields:
    """Field lines as (name, value) in, one mapping out; repeated fields are joined in order (RFC 9110, 5.3).

    Raises ProtocolError 400 for a second line of a field that may come once.
    """
    fields = {_KEYS[name]: value for name, value in lines}
    if len(fields) != len(lines):
        fields = _join(lines)
    if "" in fields:
        del fields[""]
    return fields


def _join(lines: list[tuple[str, str]]) -> Fields:
    gathered: dict[str, list[str]] = {}
    for name, value in lines:
        gathered.setdefault(_KEYS[name], []).append(value)
    for key, name in SINGLE.items():
        if len(gathered.get(key, ())) > 1:
            raise ProtocolError(400, f"more than one {name} field")
    # RFC 6265, 5.4 and RFC 9113, 8.2.3: cookies are joined by "; ".
    return {key: ("; " if key == "HTTP_COOKIE" else ",").join(values) for key, values in gathered.items()}
