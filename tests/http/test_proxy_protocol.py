"""Knows how a proxy introduces its client, in both versions of the PROXY protocol, and what is no introduction."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_core.errors import ProtocolError
from server_core.http.proxy_protocol import Origin, parse_origin

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
GET = b"GET / HTTP/1.1\r\n"


def v1(line: str) -> bytes:
    return line.encode("latin-1") + b"\r\n"


def v2(
    source: str = "192.0.2.7", port: int = 4711, tlvs: bytes = b"", command: int = 0x21, family: int | None = None
) -> bytes:
    address = ip_address(source).packed
    rest = address + bytes(len(address)) + struct.pack("!HH", port, 443) + tlvs
    if family is None:
        family = 0x11 if len(address) == 4 else 0x21
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(rest)) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def origin(data: bytes, version: str = "any") -> tuple[str, str, str]:
    """What is told, however the bytes are cut; all of ``data`` has to be the introduction."""
    for cut in range(len(data)):
        assert parse_origin(data[:cut], version) is None
    found = parse_origin(data + GET, version)
    assert found is not None
    assert found.end == len(data)
    return found[:3]


def refused(data: bytes, version: str = "any") -> bool:
    try:
        parse_origin(data, version)
    except ProtocolError as error:
        return error.status == 400
    return False


class TestVersion1:
    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443", ("192.0.2.7", "4711", "")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", ("255.255.255.255", "65535", "")),
            ("PROXY TCP6 2001:DB8:0::7 ::1 0 1", ("2001:db8::7", "0", "")),
            ("PROXY UNKNOWN", ("", "", "")),
            ("PROXY UNKNOWN 2001:db8::7 anything 1 2", ("", "", "")),
            ("PROXY UNKNOWN " + "f" * 91, ("", "", "")),
        ],
    )
    def test_a_line(self, line: str, told: tuple[str, str, str]):
        assert origin(v1(line)) == told
        assert origin(v1(line), "v1") == told
        assert refused(v1(line), "v2")

    @pytest.mark.parametrize(
        "line",
        [
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 ",
            "PROXY TCP4  192.0.2.7 10.0.0.1 4711 443",
            "PROXY TCP4 192.0.2.256 10.0.0.1 4711 443",
            "PROXY TCP4 192.0.2.07 10.0.0.1 4711 443",
            "PROXY TCP4 ::1 ::1 4711 443",
            "PROXY TCP6 192.0.2.7 10.0.0.1 4711 443",
            "PROXY TCP6 fe80::1%eth0 ::1 4711 443",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443",
            "PROXY TCP4 192.0.2.7 10.0.0.1 04711 443",
            "PROXY TCP4 192.0.2.7 10.0.0.1 -1 443",
            "PROXY UDP4 192.0.2.7 10.0.0.1 4711 443",
            "proxy TCP4 192.0.2.7 10.0.0.1 4711 443",
            "PROXY UNKNOWNX",
            "PROXY UNKNOWN " + "f" * 92,
            "PROXY UNKNOWN\r",
            "PROXY ",
        ],
    )
    def test_what_is_no_line(self, line: str):
        assert refused(v1(line) + GET)

    def test_a_line_ends_in_cr_lf_and_within_its_limit(self):
        assert refused(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n" + GET)
        assert refused(b"PROXY UNKNOWN " + b"f" * 93)


class TestVersion2:
    def test_the_client_of_each_family(self):
        assert origin(v2()) == ("192.0.2.7", "4711", "")
        assert origin(v2("2001:db8::7", 65535), "v2") == ("2001:db8::7", "65535", "")
        assert refused(v2(), "v1")

    @pytest.mark.parametrize(
        ("client", "scheme"), [(b"\x01", "https"), (b"\x05", "https"), (b"\x00", ""), (b"\x06", "")]
    )
    def test_a_client_that_came_by_tls(self, client: bytes, scheme: str):
        tlvs = tlv(1, b"h2") + tlv(0x20, client + bytes(4) + tlv(0x21, b"TLSv1.3")) + tlv(4, b"x")
        assert origin(v2(tlvs=tlvs)) == ("192.0.2.7", "4711", scheme)

    @pytest.mark.parametrize(
        "tlvs", [b"\x20", b"\x20\0\x05", b"\x20\0\x05\x01\0\0\0", b"\x20\0\x04\x01\0\0\0", b"\xff"]
    )
    def test_a_triple_that_breaks_off_says_nothing(self, tlvs: bytes):
        assert origin(v2(tlvs=tlvs)) == ("192.0.2.7", "4711", "")

    def test_a_proxy_that_speaks_for_itself_names_nobody(self):
        assert origin(v2(command=0x20)) == ("", "", "")
        assert origin(SIGNATURE + bytes([0x20, 0, 0, 0])) == ("", "", "")

    @pytest.mark.parametrize("family", [0x00, 0x12, 0x22, 0x31, 0x32])
    def test_other_families_name_nobody(self, family: int):
        assert origin(v2(family=family)) == ("", "", "")

    @pytest.mark.parametrize(
        "data",
        [
            v2(command=0x22),
            v2(command=0x11),
            v2(command=0x31),
            SIGNATURE + bytes([0x21, 0x11, 0, 11]) + bytes(11),
            SIGNATURE + bytes([0x21, 0x21, 0, 35]) + bytes(35),
            SIGNATURE + bytes([0x21, 0x11, 0x10, 0x00]),
            SIGNATURE[:-1] + b"\r",
        ],
    )
    def test_what_is_no_header(self, data: bytes):
        assert refused(data)


@pytest.mark.parametrize("version", ["v1", "v2", "any"])
@pytest.mark.parametrize("data", [GET, b"\r\n" + GET, b"\0", b"PROXX", b"G"])
def test_a_request_without_an_introduction_is_refused(version: str, data: bytes):
    assert refused(data, version)


@given(st.binary(max_size=60), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, v2()[:16]]))
def test_any_bytes_are_an_introduction_or_refused_or_not_whole(data: bytes, begin: bytes):
    if not refused(begin + data):
        found = parse_origin(begin + data, "any")
        assert found is None or isinstance(found, Origin)
