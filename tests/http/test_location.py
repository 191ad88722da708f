"""Knows to which URL a plain request is sent, and that it is always one of the same host."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_core.errors import ProtocolError
from server_core.http.location import https_location
from server_core.http.policy import admit


@pytest.mark.parametrize(
    ("host", "target", "port", "location"),
    [
        ("shop.example", "/a?b=c", 443, "https://shop.example/a?b=c"),
        ("shop.example:80", "/", 443, "https://shop.example/"),
        ("shop.example:8080", "/", 8443, "https://shop.example:8443/"),
        ("shop.example:", "/", 443, "https://shop.example/"),
        ("[::1]", "/", 443, "https://[::1]/"),
        ("[::1]:80", "/", 8443, "https://[::1]:8443/"),
        ("shop.example", "//elsewhere.example/x", 443, "https://shop.example//elsewhere.example/x"),
        ("shop.example", "/%0d%0aX:y", 443, "https://shop.example/%0d%0aX:y"),
        ("shop.example", "HTTP://shop.example/a?b=/c", 443, "https://shop.example/a?b=/c"),
        ("shop.example", "http://shop.example?b=/c", 443, "https://shop.example/?b=/c"),
        ("shop.example", "http://shop.example", 443, "https://shop.example/"),
        ("shop.example", "/?", 443, "https://shop.example/?"),
        ("shop.example", "*", 443, "https://shop.example"),
    ],
)
def test_the_location_has_the_host_the_port_and_the_target(host: str, target: str, port: int, location: str):
    assert https_location(host, target, port) == location


VISIBLE = st.text(st.sampled_from([chr(code) for code in range(33, 127) if chr(code) != "#"]), min_size=1, max_size=40)


@given(host=VISIBLE, target=VISIBLE | VISIBLE.map(lambda text: f"/{text}") | VISIBLE.map(lambda text: f"http://{text}"))
def test_whatever_is_admitted_leads_to_its_own_host(host: str, target: str):
    fields = {"HTTP_HOST": host}
    try:
        admit("OPTIONS", target, 1, fields)
    except ProtocolError:
        return
    host = fields["HTTP_HOST"]  # an absolute target replaces it
    location = https_location(host, target, 8443)
    assert re.fullmatch(r"[!-~]+", location)
    found = urlsplit(location)
    name = re.sub(r":[0-9]*$", "", host)
    assert (found.scheme, found.netloc) == ("https", f"{name}:8443")
