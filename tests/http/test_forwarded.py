"""Knows whom to believe about the client, and what is believed; and what a client cannot make us believe."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from growth import TIMES, is_linear
from hypothesis import example, given
from hypothesis import strategies as st

from server_core.config.values import EVERYONE
from server_core.errors import ProtocolError
from server_core.http.forwarded import CLAIMS, Forwarding, trusted
from server_core.settings import Proxy

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
NOBODY = ()
X_FORWARDED = Forwarding(Proxy(forwarded_allow_ips=PROXIES))
FORWARDED = Forwarding(Proxy(forwarded_allow_ips=PROXIES, forwarded_header="forwarded"))
BY_HEADER = {"x-forwarded": X_FORWARDED, "forwarded": FORWARDED}


def x_forwarded(addresses: str | None = None, scheme: str | None = None) -> tuple[str, str]:
    fields = {"HTTP_X_FORWARDED_FOR": addresses, "HTTP_X_FORWARDED_PROTO": scheme}
    return X_FORWARDED.client({key: value for key, value in fields.items() if value is not None})


def forwarded(value: str) -> tuple[str, str]:
    return FORWARDED.client({"HTTP_FORWARDED": value})


class TestTrust:
    @pytest.mark.parametrize("address", ["10.0.0.1", "10.255.255.255", "fd00::1", "::ffff:10.1.2.3", "fd12::1%eth0"])
    def test_an_address_in_one_of_the_networks_is_trusted(self, address: str):
        assert trusted(address, PROXIES)

    @pytest.mark.parametrize(
        "address",
        [
            "11.0.0.1",
            "9.255.255.255",
            "fe80::1",
            "::1",
            "::ffff:11.0.0.1",
            "unknown",
            "10.0.0",
            "010.0.0.1",
            "10.0.0.1 ",
        ],
    )
    def test_any_other_is_not(self, address: str):
        assert not trusted(address, PROXIES)

    @pytest.mark.parametrize("address", ["10.0.0.1", "::1", "", "anything"])
    def test_nobody_is_trusted_unless_the_setting_says_so(self, address: str):
        assert not trusted(address, NOBODY)

    def test_the_peer_on_a_unix_socket_is_trusted_when_anybody_is(self):
        assert trusted("", PROXIES)

    @pytest.mark.parametrize("address", ["10.0.0.1", "8.8.8.8", "2001:db8::1", ""])
    def test_everyone_is_everyone(self, address: str):
        assert trusted(address, EVERYONE)


class TestXForwarded:
    def test_one_proxy_tells_the_client_and_the_scheme(self):
        assert x_forwarded("192.0.2.7", "https") == ("192.0.2.7", "https")

    def test_nothing_told_is_nothing_known(self):
        assert x_forwarded() == ("", "")
        assert x_forwarded("", "") == ("", "")
        assert x_forwarded(" , ,", ",") == ("", "")

    def test_a_scheme_alone_is_believed(self):
        assert x_forwarded(scheme="HTTPS") == ("", "https")

    @pytest.mark.parametrize("scheme", ["ftp", "https://", "on", "wss", "http s", "\xa0https"])
    def test_only_the_value_that_means_https_means_https(self, scheme: str):
        assert x_forwarded("192.0.2.7", scheme) == ("192.0.2.7", "http")

    def test_the_first_address_from_the_right_that_is_not_trusted_is_the_client(self):
        assert x_forwarded("192.0.2.7, 198.51.100.1, 10.0.0.2, 10.0.0.3")[0] == "198.51.100.1"

    def test_when_all_are_trusted_the_first_of_them_is_the_client(self):
        assert x_forwarded("10.0.0.1, 10.0.0.2")[0] == "10.0.0.1"

    @pytest.mark.parametrize(
        ("told", "address"),
        [
            ("192.0.2.7:4711", "192.0.2.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("2001:DB8:0::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
        ],
    )
    def test_ports_and_brackets_are_taken_off(self, told: str, address: str):
        assert x_forwarded(told)[0] == address

    @pytest.mark.parametrize(
        "told",
        ["unknown", "evil", "192.0.2", "192.0.2.7:http", "192.0.2.256", "1.2.3.4.5", "<b>", "[192.0.2.7", "_x", "::g"],
    )
    def test_what_is_no_address_is_not_told(self, told: str):
        assert x_forwarded(told)[0] == ""

    @pytest.mark.parametrize("told", ["unknown", "10.0.0.1 or 1.1.1.1", "x"])
    def test_nobody_is_believed_beyond_a_hop_that_is_no_address(self, told: str):
        assert x_forwarded(f"192.0.2.7, {told}, 10.0.0.2")[0] == "10.0.0.2"

    def test_what_the_client_itself_wrote_is_not_believed(self):
        # The client claimed to be 10.9.9.9 behind 127.0.0.1; the proxy added whom it saw.
        assert x_forwarded("10.9.9.9, 127.0.0.1, 203.0.113.5")[0] == "203.0.113.5"

    def test_a_list_of_schemes_is_read_hop_by_hop(self):
        assert x_forwarded("192.0.2.7, 10.0.0.2", "https, http") == ("192.0.2.7", "https")
        assert x_forwarded("1.1.1.1, 192.0.2.7", "https, http") == ("192.0.2.7", "http")

    def test_a_single_scheme_is_that_of_all_hops(self):
        assert x_forwarded("192.0.2.7, 10.0.0.2", "https") == ("192.0.2.7", "https")

    def test_of_too_many_schemes_the_last_counts(self):
        assert x_forwarded("192.0.2.7", "https, http")[1] == "http"
        assert x_forwarded(None, "https, http")[1] == "http"

    def test_the_other_header_is_not_read(self):
        fields = {"HTTP_FORWARDED": "for=192.0.2.7;proto=https"}
        assert X_FORWARDED.client(fields) == ("", "")


class TestForwarded:
    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("for=192.0.2.7", ("192.0.2.7", "")),
            ("for=192.0.2.7;proto=https", ("192.0.2.7", "https")),
            ("proto=https;for=192.0.2.7", ("192.0.2.7", "https")),
            ("For=192.0.2.7;PROTO=HTTPS;by=10.0.0.1;host=a", ("192.0.2.7", "https")),
            ('for="192.0.2.7:4711"', ("192.0.2.7", "")),
            ('for="[2001:db8::7]"', ("2001:db8::7", "")),
            ('for="[2001:db8::7]:4711";proto="http"', ("2001:db8::7", "http")),
            ("for=192.0.2.7, for=10.0.0.2", ("192.0.2.7", "")),
            ("for=192.0.2.7,for=10.0.0.2", ("192.0.2.7", "")),
            ("for=1.1.1.1, for=192.0.2.7;proto=http, for=10.0.0.2;proto=https", ("192.0.2.7", "http")),
            ('by="a, b; c";for=192.0.2.7', ("192.0.2.7", "")),
            ('by="\\", for=1.1.1.1";for=192.0.2.7', ("192.0.2.7", "")),
            ("for=_hidden;proto=https", ("", "https")),
            ("for=unknown", ("", "")),
            ("for=1.1.1.1, for=unknown, for=10.0.0.2", ("10.0.0.2", "")),
            ("proto=https", ("", "https")),
            ("", ("", "")),
        ],
    )
    def test_elements(self, value: str, told: tuple[str, str]):
        assert forwarded(value) == told

    @pytest.mark.parametrize("value", ["for", "for=", "=a", "garbage", "for=a b", "for = a", '"', 'for="1.1.1.1'])
    @pytest.mark.parametrize("added", ["", ", for=203.0.113.9;proto=https"])
    def test_what_is_misspelt_is_refused(self, value: str, added: str):
        """To believe nothing would make the client's address that of its proxy."""
        with pytest.raises(ProtocolError, match="Forwarded") as error:
            forwarded(value + added)
        assert error.value.status == 400

    @pytest.mark.parametrize("value", [",", ";", ", ,", ""])
    def test_what_is_empty_tells_nothing(self, value: str):
        assert forwarded(value) == ("", "")

    @pytest.mark.parametrize(
        "claim",
        [
            'for=10.9.9.9;x="',
            "for=10.9.9.9;x",
            'for="10.9.9.9',
            'for=8.8.8.8;x="',
            'for=8.8.8.8, for=10.0.0.1;x="',
            '"',
            "\\",
        ],
    )
    @pytest.mark.parametrize(
        "seen",
        [
            "for=203.0.113.5",
            'for="203.0.113.5:80"',
            'for="[2001:db8::5]:80";proto=http',
            'proto=http;for="[2001:db8::5]"',
        ],
    )
    def test_a_client_cannot_hide_what_the_proxy_wrote_behind_an_open_quote(self, claim: str, seen: str):
        with pytest.raises(ProtocolError, match="Forwarded"):
            forwarded(f"{claim}, {seen}")

    def test_a_parameter_that_is_said_twice_is_refused(self):
        with pytest.raises(ProtocolError, match="Forwarded"):
            forwarded("for=203.0.113.5;for=10.9.9.9")

    def test_the_other_header_is_not_read(self):
        fields = {"HTTP_X_FORWARDED_FOR": "192.0.2.7", "HTTP_X_FORWARDED_PROTO": "https"}
        assert FORWARDED.client(fields) == ("", "")


class TestSchemes:
    MANY = Forwarding(
        Proxy(
            forwarded_allow_ips=PROXIES,
            secure_scheme_headers=(("x-forwarded-proto", "https"), ("x-forwarded-ssl", "on"), ("x-scheme", "HTTPS")),
        )
    )

    @pytest.mark.parametrize(
        ("fields", "scheme"),
        [
            ({"HTTP_X_FORWARDED_SSL": "on"}, "https"),
            ({"HTTP_X_FORWARDED_SSL": "off"}, "http"),
            ({"HTTP_X_SCHEME": "https"}, "https"),
            ({"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_SSL": "on"}, "https"),
            ({"HTTP_X_OTHER": "on"}, ""),
        ],
    )
    def test_each_of_the_fields_may_tell_it(self, fields: dict[str, str], scheme: str):
        assert self.MANY.client(fields) == ("", scheme)

    @pytest.mark.parametrize("ssl", ["off", "1"])
    def test_fields_that_contradict_each_other_are_refused(self, ssl: str):
        with pytest.raises(ProtocolError) as caught:
            self.MANY.client({"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_SSL": ssl})
        assert caught.value.status == 400

    def test_a_field_that_is_not_named_tells_nothing(self):
        only_ssl = Forwarding(Proxy(forwarded_allow_ips=PROXIES, secure_scheme_headers=(("x-forwarded-ssl", "on"),)))
        assert only_ssl.client({"HTTP_X_FORWARDED_PROTO": "https"}) == ("", "")


class TestHops:
    def test_so_many_entries_are_believed_whatever_their_addresses(self):
        for header, fields in [
            ("x-forwarded", {"HTTP_X_FORWARDED_FOR": "10.9.9.9, 192.0.2.7, 203.0.113.5"}),
            ("forwarded", {"HTTP_FORWARDED": "for=10.9.9.9, for=192.0.2.7, for=203.0.113.5"}),
        ]:
            told = [
                Forwarding(Proxy(forwarded_allow_ips=EVERYONE, forwarded_header=header, forwarded_hops=hops)).client(
                    fields
                )[0]
                for hops in (1, 2, 3, 4)
            ]
            assert told == ["203.0.113.5", "192.0.2.7", "10.9.9.9", ""]

    def test_the_scheme_is_that_of_the_same_hop(self):
        fields = {"HTTP_X_FORWARDED_FOR": "192.0.2.7, 203.0.113.5", "HTTP_X_FORWARDED_PROTO": "https, http"}
        assert Forwarding(Proxy(forwarded_allow_ips=EVERYONE, forwarded_hops=2)).client(fields)[1] == "https"
        assert Forwarding(Proxy(forwarded_allow_ips=EVERYONE, forwarded_hops=1)).client(fields)[1] == "http"

    def test_where_everybody_is_trusted_the_last_entry_is_the_proxys_and_the_others_are_claims(self):
        everyone = Forwarding(Proxy(forwarded_allow_ips=EVERYONE))
        assert everyone.client({"HTTP_X_FORWARDED_FOR": "6.6.6.6, 203.0.113.5"})[0] == "203.0.113.5"
        assert everyone.client({"HTTP_X_FORWARDED_PROTO": "https"}) == ("", "https")


class TestPurge:
    HEARSAY = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_ANYTHING", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_X_SSL")

    def left(self, from_trusted: bool, header: str = "x-forwarded") -> set[str]:
        forwarding = Forwarding(
            Proxy(forwarded_allow_ips=PROXIES, forwarded_header=header, secure_scheme_headers=(("x-ssl", "on"),))
        )
        fields = dict.fromkeys((*self.HEARSAY, "HTTP_HOST", "HTTP_X_FORWARD"), "x")
        taken_out = forwarding.purge(fields, from_trusted)
        assert not set(taken_out) & set(fields)
        assert fields.keys() >= {"HTTP_HOST", "HTTP_X_FORWARD"}
        return set(fields) - {"HTTP_HOST", "HTTP_X_FORWARD"}

    def test_of_a_stranger_nothing_is_left(self):
        assert self.left(False) == set()
        assert self.left(False, "forwarded") == set()

    def test_of_a_proxy_what_it_says_is_left_and_what_it_passes_on_is_not(self):
        assert self.left(True) == set(self.HEARSAY) - {"HTTP_FORWARDED"}
        assert self.left(True, "forwarded") == {"HTTP_FORWARDED"}


FORWARDED_CHARS = st.text("for=proto,;\"\\ \t[]:.0123456789abcdef_-'", max_size=60)


@given(value=FORWARDED_CHARS, header=st.sampled_from(["forwarded", "x-forwarded"]))
@example(value='for="\\', header="forwarded")
@example(value="[1:2", header="x-forwarded")
def test_whatever_is_told_is_an_address_or_nothing(value: str, header: str):
    fields = {"HTTP_FORWARDED": value, "HTTP_X_FORWARDED_FOR": value, "HTTP_X_FORWARDED_PROTO": value}
    try:
        address, scheme = BY_HEADER[header].client(fields)
    except ProtocolError:
        return
    assert scheme in ("", "http", "https")
    assert address == "" or str(ip_address(address)) == address


@given(claims=st.lists(st.sampled_from(["10.0.0.1", "8.8.8.8", "::1", "fd00::1", "unknown", "x"]), max_size=6))
def test_no_claim_of_a_client_changes_what_its_proxy_saw(claims: list[str]):
    assert x_forwarded(", ".join([*claims, "203.0.113.5", "10.0.0.2"]))[0] == "203.0.113.5"
    elements = [f"for={claim}" if ":" not in claim else f'for="[{claim}]"' for claim in claims]
    assert forwarded(", ".join([*elements, "for=203.0.113.5", "for=10.0.0.2"]))[0] == "203.0.113.5"


@pytest.mark.parametrize(
    "piece", ['\\"', '"\\', "a", " ", "for=", ";", ",", '"', "for=10.0.0.1,", 'a="', "a=b ", "[", ":", "1."]
)
@pytest.mark.parametrize("first", ["", '"'])
@pytest.mark.parametrize("header", ["forwarded", "x-forwarded"])
def test_no_value_takes_the_square_of_its_length(header: str, first: str, piece: str):
    def read(size: int) -> None:
        value = first + piece * (size // len(piece))
        with suppress(ProtocolError):
            BY_HEADER[header].client({"HTTP_FORWARDED": value, "HTTP_X_FORWARDED_FOR": value})

    assert is_linear(read, 500, 500 * TIMES)


def test_the_threat_model_names_everything_that_is_taken_out():
    page = (Path(__file__).parents[2] / "docs" / "discussion" / "threat-model.md").read_text()
    named = {f"HTTP_{name.upper().replace('-', '_')}" for name in re.findall("`([A-Z][A-Za-z-]+)`", page)}
    assert named >= CLAIMS


class TestListsOfSchemes:
    """One value is for all hops; of several the last is the nearest proxy's, and a client may have begun the list."""

    @pytest.mark.parametrize(
        ("addresses", "schemes", "expected"),
        [
            ("1.1.1.1, 2.2.2.2", "https", ("1.1.1.1", "https")),
            ("1.1.1.1, 2.2.2.2", "http, https", ("1.1.1.1", "http")),
            ("1.1.1.1, 2.2.2.2", "https, http, https", ("1.1.1.1", "http")),
            ("9.9.9.9, 1.1.1.1, 2.2.2.2", "https, http", ("1.1.1.1", "https")),
            ("1.1.1.1, 2.2.2.2", "", ("1.1.1.1", "")),
        ],
    )
    def test_with_two_hops_it_is_the_second_from_the_last(self, addresses, schemes, expected):
        forwarding = Forwarding(Proxy(forwarded_allow_ips=PROXIES, forwarded_hops=2))
        assert forwarding.client({"HTTP_X_FORWARDED_FOR": addresses, "HTTP_X_FORWARDED_PROTO": schemes}) == expected

    def test_by_addresses_what_a_client_has_put_in_front_does_not_count(self):
        assert x_forwarded("1.1.1.1, 10.0.0.1", "https, http, https") == ("1.1.1.1", "http")


def test_an_ipv4_address_in_ipv6_clothes_is_told_as_what_it_is():
    assert x_forwarded("::ffff:1.2.3.4")[0] == "1.2.3.4"
    assert forwarded('for="[::ffff:1.2.3.4]"')[0] == "1.2.3.4"
