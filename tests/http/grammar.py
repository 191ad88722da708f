"""Knows the grammar of requests as hypothesis strategies, and how to damage what it has made; not how it is read.

What is generated comes with what must be understood of it, put together from the same parts and never read back.  The
grammar is that of RFC 9110, 9112 and 3986, without the little of it that we refuse: an empty host and one of the
form IPvFuture, obsolete line folding, user information and CONNECT.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from hypothesis import strategies as st
from request_reader import Request

DIGITS = "0123456789"
LETTERS = "abcxyzABCXYZ"
TCHARS = "!#$%&'*+-.^_`|~" + DIGITS + LETTERS
PERCENTS = ["%00", "%2F", "%2e", "%C3%a9", "%25", "%0d%0A"]

TOKENS = st.text(TCHARS, min_size=1, max_size=12)
METHODS = st.one_of(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"]),
    st.text(TCHARS, min_size=1, max_size=32).filter(lambda method: method != "CONNECT"),
)
_pchars = st.sampled_from([*"-._~!$&'()*+,;=:@", *DIGITS, *LETTERS, *PERCENTS])
PATHS = st.lists(st.one_of(st.just("/"), _pchars), max_size=12).map(lambda parts: "/" + "".join(parts))
QUERIES = st.lists(st.one_of(st.sampled_from("/?"), _pchars), max_size=12).map("".join)
HOSTS = st.builds(
    str.__add__,
    st.one_of(
        st.lists(st.sampled_from([*"-._~!$&'()*+,;=", *DIGITS, *LETTERS, *PERCENTS]), min_size=1).map("".join),
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map("[{}]".format),
    ),
    st.one_of(st.sampled_from(["", ":"]), st.integers(0, 65535).map(":{}".format)),
)
WHITE = st.text(" \t", max_size=2)
# What stands inside a value; the white space round it is no part of it (RFC 9110, 5.5).
VALUES = st.text([chr(code) for code in (9, *range(32, 127), *range(128, 256))], max_size=20).map(
    lambda value: value.strip(" \t")
)
RESERVED = {"host", "content-length", "transfer-encoding", "connection", "expect", "content-type"}
NAMES = st.one_of(
    st.sampled_from(["Accept", "accept", "Cookie", "X-Forwarded-For", "X_Forwarded_For", "Proxy", "Upgrade", "TE"]),
    TOKENS.filter(lambda name: name.lower() not in RESERVED),
)
QUOTED = st.lists(st.sampled_from(["a", " ", "\t", ";", ",", "\xe9", "\\\\", '\\"', "\\a", "!", "~"]), max_size=6).map(
    lambda parts: '"' + "".join(parts) + '"'
)

Line = tuple[str, str]


@dataclass(frozen=True)
class Written:
    """Bytes, and the request that they are."""

    data: bytes
    request: Request


@st.composite
def targets(draw: st.DrawFn, method: str) -> tuple[str, str, str, str]:
    """A target in any of its forms (RFC 9112, 3.2) with its path, query and, in absolute form, host."""
    form = draw(st.sampled_from(["origin", "origin", "absolute"] + ["asterisk"] * (method == "OPTIONS")))
    if form == "asterisk":
        return "*", "", "", ""
    path = draw(PATHS)
    query = draw(st.one_of(st.just(""), QUERIES))
    mark = "?" if query else draw(st.sampled_from(["", "?"]))
    if form == "origin":
        return path + mark + query, path, query, ""
    scheme, host, written = draw(st.sampled_from(["http", "https", "HTTP"])), draw(HOSTS), draw(st.booleans())
    return f"{scheme}://{host}{path if written else ''}{mark}{query}", path if written else "/", query, host


@st.composite
def extensions(draw: st.DrawFn) -> str:
    """Chunk extensions (RFC 9112, 7.1.1)."""
    parts = []
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        parts += [draw(WHITE), ";", draw(WHITE), draw(TOKENS)]
        if draw(st.booleans()):
            parts += [draw(WHITE), "=", draw(WHITE), draw(st.one_of(TOKENS, QUOTED))]
    return "".join(parts)


@st.composite
def chunked(draw: st.DrawFn, pieces: list[bytes]) -> bytes:
    """``pieces`` as a chunked body with extensions and trailers (RFC 9112, 7.1)."""
    written = []
    for piece in pieces:
        size = draw(st.sampled_from(["{:x}", "{:X}", "{:04x}", "{:016X}"])).format(len(piece))
        written += [size.encode(), draw(extensions()).encode("latin-1"), b"\r\n", piece, b"\r\n"]
    last = draw(st.sampled_from(["0", "00", "0" * 16])) + draw(extensions()) + "\r\n"
    trailers = [f"{name}: {value}\r\n" for name, value in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=2))]
    return b"".join(written) + (last + "".join(trailers) + "\r\n").encode("latin-1")


def understood(lines: list[Line]) -> dict[str, str]:
    """Field lines as an application sees them (RFC 3875, 4.1.18; PEP 3333)."""
    fields: dict[str, str] = {}
    for name, value in lines:
        if "_" in name or name.lower() == "proxy":
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"
        between = "; " if key == "HTTP_COOKIE" else ","
        fields[key] = fields[key] + between + value if key in fields else value
    return fields


@st.composite
def requests(draw: st.DrawFn, persistent: bool = False) -> Written:
    """One whole request; ``persistent`` ones do not end their connection."""
    minor = draw(st.sampled_from([0, 1, 1, 1, 9]))
    method = draw(METHODS)
    target, path, query, authority = draw(targets(method))
    host = draw(HOSTS) if minor or draw(st.booleans()) else None
    lines = draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))
    if host is not None:
        lines.append((draw(st.sampled_from(["Host", "host", "HOST"])), host))
    if draw(st.booleans()):
        lines.append(("Content-Type", draw(VALUES)))
    options = draw(st.lists(st.sampled_from(["keep-alive", "Keep-Alive", "x"] + ["close"] * (not persistent))))
    if persistent and not minor:
        options.append("keep-alive")
    lines += [("Connection", option) for option in options[2:]]
    if options:
        lines.append(("Connection", draw(st.sampled_from([",", ", ", "\t,"])).join(options[:2])))
    expects = bool(minor) and draw(st.booleans())
    if expects:
        lines.append(("Expect", draw(st.sampled_from(["100-continue", "100-Continue"]))))

    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=3))
    body, data = b"".join(pieces), b"".join(pieces)
    framing = draw(st.sampled_from(["none", "length"] + ["chunked"] * (minor > 0)))
    if framing == "none":
        body = data = b""
    elif framing == "length":
        lines.append((draw(st.sampled_from(["Content-Length", "content-length"])), draw(_lengths(len(body)))))
    else:
        lines.append(("Transfer-Encoding", draw(st.sampled_from(["chunked", "Chunked"]))))
        data = draw(chunked(pieces))

    lines = draw(st.permutations(lines))
    head = [draw(st.sampled_from(["", "", "", "\r\n", "\r\n" * 4])), f"{method} {target} HTTP/1.{minor}\r\n"]
    head += [f"{name}:{draw(WHITE)}{value}{draw(WHITE)}\r\n" for name, value in lines]
    fields = understood(lines)
    if authority:  # RFC 9112, 3.2.2
        fields["HTTP_HOST"] = authority
    asked = {option.lower() for option in options}
    keep_alive = "close" not in asked and (minor > 0 or "keep-alive" in asked)
    expects = expects and (framing == "chunked" or body != b"")
    request = Request(method, path, query, min(minor, 1), keep_alive, expects, tuple(sorted(fields.items())), body)
    return Written("".join([*head, "\r\n"]).encode("latin-1") + data, request)


def _lengths(length: int) -> st.SearchStrategy[str]:
    return st.sampled_from([f"{length}", f"{length:04}", f"{length:019}"])


@st.composite
def pipelines(draw: st.DrawFn) -> list[Written]:
    """Requests of which none but the last may end the connection."""
    before = draw(st.lists(requests(persistent=True), max_size=2))
    return [*before, draw(requests())]


PIECES = [
    *(b"\x00", b"\x01", b"\t", b"\n", b"\x0b", b"\r", b" ", b"\x7f", b"\x80", b"\x85", b"\xa0", b"\xff"),
    *(b'"', b"#", b"%", b"*", b"+", b",", b"-", b"/", b"0", b"1", b":", b";", b"=", b"?", b"@", b"[", b"\\", b"_"),
    *(b"\r\n", b"\r\n\r\n", b"\n\n", b"0\r\n\r\n", b"\r\n ", b" :", b", chunked", b"x" * 80),
    *(b"Host: b\r\n", b"Content-Length: 1\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding: x\r\n", b"Connection: close\r\n", b"Upgrade: x\r\n", b"CONNECT ", b"HTTP/1.0", b"HTTP/2.0"),
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
]
LINE_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"", b"\r\n\t", b" \r\n"]


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with one to three faults (which need not be faults: an inserted digit may fit)."""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        size = draw(st.integers(1, 8))
        change = draw(st.sampled_from(["insert", "delete", "replace", "repeat line", "double", "swap line end", "cut"]))
        if change == "insert":
            data = data[:place] + draw(st.sampled_from(PIECES)) + data[place:]
        elif change == "delete":
            data = data[:place] + data[place + size :]
        elif change == "replace":
            data = data[:place] + draw(st.sampled_from(PIECES)) + data[place + size :]
        elif change == "double":
            data = data[: place + size] + data[place:]
        elif change == "cut":
            data = data[:place]
        else:
            lines = data.split(b"\r\n")
            index = draw(st.integers(0, len(lines) - 1))
            if change == "repeat line":
                data = b"\r\n".join([*lines[: index + 1], *lines[index:]])
            else:
                ends = b"\r\n".join(lines[: index + 1]), b"\r\n".join(lines[index + 1 :])
                data = draw(st.sampled_from(LINE_ENDS)).join(ends)
    return data


#: whole connections, as they should be and damaged
STREAMS = pipelines().map(lambda written: b"".join(each.data for each in written))
DAMAGED = STREAMS.flatmap(partial(mutations))
