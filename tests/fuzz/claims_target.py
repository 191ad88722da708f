"""Knows what must hold for any bytes in which someone claims something: PROXY protocol, Forwarded, Accept.

``check`` takes what a fuzzer makes: a byte that tells which of them, and the claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from server_core.errors import ProtocolError
from server_core.http.forwarded import Forwarding
from server_core.http.pages import error_page
from server_core.http.proxy_protocol import Origin, parse_origin
from server_core.settings import Proxy

NETWORKS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
FORWARDED = Forwarding(Proxy(forwarded_allow_ips=NETWORKS, forwarded_header="forwarded"))
X_FORWARDED = Forwarding(Proxy(forwarded_allow_ips=NETWORKS))
WORDS = [
    *(
        b"PROXY TCP4 ",
        b"PROXY TCP6 ",
        b"PROXY UNKNOWN",
        b"\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\x21\x11\0\x0c",
        b"::ffff:10.0.0.1",
    ),
    *(
        b"for=",
        b"proto=",
        b"https",
        b'="',
        b'\\"',
        b'";',
        b", ",
        b"[fd00::1]:80",
        b"10.0.0.1",
        b"192.0.2.8",
        b"_hidden",
    ),
    *(b"text/html", b"application/json", b"*/*", b";q=0.5", b"; Q=1.000"),
]
#: whom the proxy that we trust has seen, whatever was claimed before
SEEN = "192.0.2.7"


def seeds() -> Iterator[bytes]:
    """Inputs of ``check`` to begin with."""
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    tls = b"\x20\x00\x05\x01\0\0\0\0"
    yield from (
        b"\0PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\nGET /",
        b"\0PROXY TCP6 2001:db8::7 fd00::1 4711 80\r\n",
        b"\0PROXY UNKNOWN anything\r\n",
        b"\0" + signature + b"\x21\x11\x00\x0c" + bytes(12),
        b"\0" + signature + b"\x21\x21\x00\x2c" + bytes(36) + tls,
        b"\0" + signature + b"\x20\x00\x00\x00",
        b'\x01for="[2001:db8::7]:4711";proto=https;by=_x, for=10.0.0.2 ; host="a\\"b"',
        b"\x01for=unknown",
        b"\x0210.0.0.1, 198.51.100.1:80, [fd00::1]:1",
        b"\x03https, http",
        b"\x04text/html;q=0.8, application/json ; Q=1.000, */*;q=0",
    )


def check(data: bytes) -> None:
    """Raises AssertionError, or whatever the parser raises besides ProtocolError, when ``data`` shows a fault."""
    if not data:
        return
    claim = data[1:]
    text = claim.decode("latin-1")
    kind = data[0] % 5
    if kind == 0:
        for version in ("v1", "v2", "any"):
            _check_origin(claim, version)
    elif kind == 1:
        # All or nothing: a claim that is well spelt does not hide what stands to its right, and no other is believed.
        for value in (f"{text}, for={SEEN}", text):
            try:
                told = FORWARDED.client({"HTTP_FORWARDED": value})
            except ProtocolError as error:
                _check_status(error.status)
            else:
                _check_told(*told)
                assert value == text or told == (SEEN, ""), f"the client made us believe {told}"
    elif kind == 2:
        told = X_FORWARDED.client({"HTTP_X_FORWARDED_FOR": f"{text}, {SEEN}"})
        assert told == (SEEN, ""), f"the client made us believe {told}"
        _check_told(*X_FORWARDED.client({"HTTP_X_FORWARDED_FOR": text}))
    elif kind == 3:
        try:
            _check_told(*X_FORWARDED.client({"HTTP_X_FORWARDED_FOR": SEEN, "HTTP_X_FORWARDED_PROTO": text}))
        except ProtocolError as error:
            _check_status(error.status)
    else:
        page = error_page(400, b"Date: x\r\n", accept=text)
        head, _, body = page.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"Content-Length: %d\r\n" % len(body) in head
        assert error_page(400, b"Date: x\r\n", accept=text, head_only=True) == head + b"\r\n\r\n"


def _check_status(status: int) -> None:
    assert status == 400, f"an unknown status: {status}"


def _check_told(address: str, scheme: str) -> None:
    assert not address or str(ip_address(address)) == address, f"no address: {address!r}"
    assert scheme in ("", "http", "https"), f"no scheme: {scheme!r}"


def _check_origin(data: bytes, version: str) -> None:
    """What is said of a beginning is final, and nothing behind it counts."""
    said: Origin | int | None = None
    for end in (*range(min(len(data), 64)), len(data)):
        before = said
        try:
            said = parse_origin(data[:end], version)
        except ProtocolError as error:
            _check_status(error.status)
            said = error.status
        assert before is None or said == before, f"{said} instead of {before}, when more had come"
    if isinstance(said, Origin):
        assert said.end <= len(data)
        assert not said.address or 0 <= int(said.port) <= 65535
        assert said.scheme in ("", "https")
        _check_told(said.address, said.scheme)
