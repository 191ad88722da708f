"""Knows how addresses are written, right and wrong; opens none of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_core.config.bindings import Binding, parse_binding


@pytest.mark.parametrize(
    ("written", "binding", "canonical"),
    [
        ("127.0.0.1:8000", Binding("tcp", "127.0.0.1", 8000), "127.0.0.1:8000"),
        (":9000", Binding("tcp", "0.0.0.0", 9000), "0.0.0.0:9000"),
        ("0:8000", Binding("tcp", "0.0.0.0", 8000), "0.0.0.0:8000"),
        ("9000", Binding("tcp", "127.0.0.1", 9000), "127.0.0.1:9000"),
        ("localhost", Binding("tcp", "localhost", 8000), "localhost:8000"),
        ("0.0.0.0", Binding("tcp", "0.0.0.0", 8000), "0.0.0.0:8000"),
        ("web-1.example.org:80", Binding("tcp", "web-1.example.org", 80), "web-1.example.org:80"),
        ("tcp://10.0.0.1:80", Binding("tcp", "10.0.0.1", 80), "10.0.0.1:80"),
        (" 127.0.0.1:0 ", Binding("tcp", "127.0.0.1", 0), "127.0.0.1:0"),
        ("[::1]:8000", Binding("tcp", "::1", 8000), "[::1]:8000"),
        ("[::]:80", Binding("tcp", "::", 80), "[::]:80"),
        ("[::1]", Binding("tcp", "::1", 8000), "[::1]:8000"),
        ("[0:0::1]:65535", Binding("tcp", "::1", 65535), "[::1]:65535"),
        ("[fe80::1%eth0]:80", Binding("tcp", "fe80::1%eth0", 80), "[fe80::1%eth0]:80"),
        ("unix:/run/app.sock", Binding("unix", path="/run/app.sock"), "unix:/run/app.sock"),
        ("unix:///run/app.sock", Binding("unix", path="/run/app.sock"), "unix:/run/app.sock"),
        ("unix:run/app.sock", Binding("unix", path="run/app.sock"), "unix:run/app.sock"),
        ("unix:@app", Binding("unix", path="@app"), "unix:@app"),
        ("fd://3", Binding("fd", fd=3), "fd://3"),
        ("http://localhost", Binding("tcp", "localhost", 80, scheme="http"), "http://localhost:80"),
        ("https://:8443/", Binding("tcp", "0.0.0.0", 8443, scheme="https"), "https://0.0.0.0:8443"),
        ("https://[::]", Binding("tcp", "::", 443, scheme="https"), "https://[::]:443"),
        ("http://unix:/run/app", Binding("unix", path="/run/app", scheme="http"), "http://unix:/run/app"),
        ("https://fd://3", Binding("fd", fd=3, scheme="https"), "https://fd://3"),
    ],
)
def test_an_address_is_read_and_shown_in_its_canonical_spelling(written: str, binding: Binding, canonical: str) -> None:
    assert parse_binding(written) == binding
    assert str(binding) == canonical
    assert parse_binding(canonical) == binding


@pytest.mark.parametrize(
    ("written", "phrase"),
    [
        ("", "is not an address"),
        (":", "no port number"),
        ("localhost:", "no port number"),
        ("localhost:http", "no port number"),
        ("localhost:-1", "no port number"),
        ("localhost:65536", "above 65535"),
        ("65536", "above 65535"),
        ("1" * 5000, "above 65535"),
        ("localhost:٨٠", "no port number"),
        ("::1", "in brackets"),
        ("::1:8000", "in brackets"),
        ("ftp://localhost:8000", "in brackets"),
        ("http://https://localhost", "no port number"),
        ("http://localhost/shop", "is not an address"),
        ("http://", "is not an address"),
        ("local host:80", "is not an address"),
        ("*:80", "is not an address"),
        ("300.1.1.1:80", "four numbers"),
        ("1.2.3:80", "four numbers"),
        ("[::1:8000", "is not an address"),
        ("[::1]8000", "is not an address"),
        ("[::1]:", "no port number"),
        ("[:::]:80", "no IPv6 address"),
        ("[localhost]:80", "no IPv6 address"),
        ("unix:", "no path"),
        ("unix://", "no path"),
        ("unix:@", "no path"),
        ("unix:a\0b", "no path"),
        ("fd://", "no descriptor"),
        ("fd://-1", "no descriptor"),
        ("fd://stdin", "no descriptor"),
        ("fd://" + "1" * 5000, "no descriptor"),
    ],
)
def test_what_is_no_address_is_refused_with_a_phrase_that_says_why(written: str, phrase: str) -> None:
    with pytest.raises(ValueError, match=phrase):
        parse_binding(written)


def test_only_a_name_with_an_at_sign_is_abstract() -> None:
    assert parse_binding("unix:@app").is_abstract
    assert not parse_binding("unix:/run/app.sock").is_abstract
    assert not parse_binding("localhost:80").is_abstract


@settings(deadline=None)
@given(st.text() | st.from_regex(r"(\[[0-9a-f:.]*\]|[a-z0-9.-]*)(:[0-9]{0,6})?", fullmatch=True))
def test_any_text_is_either_refused_or_has_a_canonical_spelling_that_means_the_same(written: str) -> None:
    try:
        binding = parse_binding(written)
    except ValueError:
        return
    assert parse_binding(str(binding)) == binding
