"""Requests as bytes with what must come of them: one table, read by whoever wants to know how HTTP is understood here.

A case is (name, bytes, expected).  ``expected`` is the status of the refusal, or what is accepted as a list of
``"METHOD path?query body"`` (with ``path`` and ``body`` as latin-1 text), with ``...`` at its end when the bytes break
off inside a request.
"""

from __future__ import annotations

MORE = "..."

Case = tuple[str, bytes, "int | list[str]"]


def _get(target: bytes = b"/", *lines: bytes, version: bytes = b"HTTP/1.1", method: bytes = b"GET") -> bytes:
    """A request head with a Host field."""
    return b"\r\n".join([b"%s %s %s" % (method, target, version), b"Host: shop.example", *lines, b"", b""])


def _post(body: bytes, *lines: bytes) -> bytes:
    return _get(b"/in", *lines, method=b"POST") + body


def _chunked(body: bytes, *lines: bytes) -> bytes:
    return _post(body, b"Transfer-Encoding: chunked", *lines)


REQUEST_LINES: list[Case] = [
    ("the smallest 1.1 request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", ["GET /"]),
    ("the smallest 1.0 request", b"GET / HTTP/1.0\r\n\r\n", ["GET /"]),
    ("a later minor version is read as 1.1", _get(version=b"HTTP/1.7"), ["GET /"]),
    ("any token is a method", _get(method=b"M!#$%&'*+-.^_`|~9"), ["M!#$%&'*+-.^_`|~9 /"]),
    ("a method in lower case is another method", _get(method=b"get"), ["get /"]),
    ("a method of 32 characters", _get(method=b"M" * 32), ["M" * 32 + " /"]),
    ("a method of 33 characters", _get(method=b"M" * 33), 400),
    ("a method longer than the longest line", _get(method=b"M" * 9000), 400),
    ("a target longer than the longest line", _get(b"/" + b"a" * 9000), 414),
    ("a query", _get(b"/a/b?c=d&e?f"), ["GET /a/b?c=d&e?f"]),
    ("percent signs stay as they are", _get(b"/%41%2fb%zz?%20"), ["GET /%41%2fb%zz?%20"]),
    ("a path that looks like an authority", _get(b"//evil.example/x"), ["GET //evil.example/x"]),
    ("empty lines before a request", b"\r\n\r\n" + _get(), ["GET /"]),
    ("empty lines between requests", _get() + b"\r\n" + _get(b"/2"), ["GET /", "GET /2"]),
    ("empty lines after the last request wait for one", _get() + b"\r\n", ["GET /", MORE]),
    ("five empty lines before a request", b"\r\n" * 5 + _get(), 400),
    ("an empty line of LF alone", b"\n" + _get(), 400),
    ("no version", b"GET /\r\n\r\n", 400),
    ("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("two spaces after the method", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a tab for a space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("a space before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a method that is no token", b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a method with a letter beyond ASCII", b"G\xc9T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("the first bytes of TLS", b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ("a first byte beyond ASCII", b"\xff", 400),
    ("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("version 0.9", _get(version=b"HTTP/0.9"), 505),
    ("version 3.0", _get(version=b"HTTP/3.0"), 505),
    ("a version in lower case", _get(version=b"http/1.1"), 400),
    ("a version with two digits", _get(version=b"HTTP/1.10"), 400),
    ("a version with two digits in front", _get(version=b"HTTP/01.1"), 400),
    ("a version without a point", _get(version=b"HTTP/11"), 400),
    ("another protocol", _get(version=b"ICAP/1.0"), 400),
    ("a fragment in the target", _get(b"/a#b"), 400),
    ("a control character in the target", _get(b"/a\x01"), 400),
    ("DEL in the target", _get(b"/a\x7f"), 400),
    ("a raw byte beyond ASCII in the target", _get(b"/\xc3\xa9"), 400),
    ("NUL in the target", _get(b"/\x00"), 400),
    ("CR in the target", _get(b"/\r"), 400),
    ("a target that is no path", _get(b"a"), 400),
    ("a request line that ends in LF alone", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("a request line that ends in CR alone", b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    ("a request line that ends in CR CR LF", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400),
    ("half a method", b"GE", [MORE]),
    ("a head without its last line", b"GET / HTTP/1.1\r\nHost: a\r\n", [MORE]),
    ("a head without its last LF", b"GET / HTTP/1.1\r\nHost: a\r\n\r", [MORE]),
    ("nothing", b"", []),
]

TARGETS: list[Case] = [
    ("an absolute target", _get(b"http://shop.example/a?b"), ["GET /a?b"]),
    ("an absolute target over TLS", _get(b"HTTPS://shop.example/a"), ["GET /a"]),
    ("an absolute target without a path", _get(b"http://shop.example"), ["GET /"]),
    ("an absolute target with a query only", _get(b"http://shop.example?b"), ["GET /?b"]),
    ("an absolute target with a port", _get(b"http://[::1]:8000/"), ["GET /"]),
    ("an absolute target without an authority", _get(b"http:///a"), 400),
    ("an absolute target with a user", _get(b"http://me@shop.example/"), 400),
    ("an absolute target with a wrong port", _get(b"http://shop.example:http/"), 400),
    ("another scheme", _get(b"ftp://shop.example/"), 400),
    ("a scheme without slashes", _get(b"http:shop.example"), 400),
    ("an absolute target does not replace a missing Host", b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
    ("OPTIONS *", _get(b"*", method=b"OPTIONS"), ["OPTIONS "]),
    ("GET *", _get(b"*"), 400),
    ("OPTIONS **", _get(b"**", method=b"OPTIONS"), 400),
    ("CONNECT", _get(b"shop.example:443", method=b"CONNECT"), 501),
    ("CONNECT to a path", _get(b"/", method=b"CONNECT"), 501),
]

FIELDS: list[Case] = [
    ("white space round a value", _get(b"/", b"Accept: \t text/html \t"), ["GET /"]),
    ("no white space before a value", _get(b"/", b"Accept:text/html"), ["GET /"]),
    ("an empty value", _get(b"/", b"Accept:"), ["GET /"]),
    ("a value of white space", _get(b"/", b"Accept: \t "), ["GET /"]),
    ("a value beyond ASCII", _get(b"/", b"X-Name: \xe9\x80"), ["GET /"]),
    ("a tab in a value", _get(b"/", b"X-Name: a\tb"), ["GET /"]),
    ("a colon in a value", _get(b"/", b"X-Name: a:b"), ["GET /"]),
    ("white space before the colon", _get(b"/", b"X-Name : a"), 400),
    ("a tab before the colon", _get(b"/", b"X-Name\t: a"), 400),
    ("no colon", _get(b"/", b"X-Name"), 400),
    ("no name", _get(b"/", b": a"), 400),
    ("a name with a space", _get(b"/", b"X Name: a"), 400),
    ("a name with brackets", _get(b"/", b"X(Name): a"), 400),
    ("a name beyond ASCII", _get(b"/", b"X-N\xe9: a"), 400),
    ("a folded line", _get(b"/", b"X-Name: a", b" b"), 400),
    ("a line folded by a tab", _get(b"/", b"X-Name: a", b"\tb"), 400),
    ("the first field folded", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("NUL in a value", _get(b"/", b"X-Name: a\x00b"), 400),
    ("a control character in a value", _get(b"/", b"X-Name: a\x0bb"), 400),
    ("DEL in a value", _get(b"/", b"X-Name: a\x7fb"), 400),
    ("CR in a value", _get(b"/", b"X-Name: a\rb"), 400),
    ("LF in a value", _get(b"/", b"X-Name: a\nb"), 400),
    ("a field line that ends in LF alone", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    ("a head that ends in LF alone", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("a head that ends in CR and something else", b"GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n", 400),
]

HOSTS: list[Case] = [
    ("no Host in 1.1", b"GET / HTTP/1.1\r\nAccept: a\r\n\r\n", 400),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("two Hosts in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400),
    ("an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    ("a wrong Host in 1.0", b"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", 400),
    ("a Host with an address and a port", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", ["GET /"]),
]

LENGTHS: list[Case] = [
    ("a body", _post(b"abc", b"Content-Length: 3"), ["POST /in abc"]),
    ("a body with GET", _get(b"/", b"Content-Length: 2") + b"hi", ["GET / hi"]),
    ("a body of nothing", _post(b"", b"Content-Length: 0"), ["POST /in"]),
    ("no length is no body", _post(b"") + _get(), ["POST /in", "GET /"]),
    ("zeros before the length", _post(b"abc", b"Content-Length: 0003"), ["POST /in abc"]),
    ("a request behind a body", _post(b"abc", b"Content-Length: 3") + _get(b"/2"), ["POST /in abc", "GET /2"]),
    ("a body that breaks off", _post(b"ab", b"Content-Length: 3"), [MORE]),
    ("a length of 20 digits", _post(b"", b"Content-Length: 10000000000000000000"), 400),
    ("an empty length", _post(b"", b"Content-Length:"), 400),
    ("a length with a plus", _post(b"abc", b"Content-Length: +3"), 400),
    ("a negative length", _post(b"abc", b"Content-Length: -3"), 400),
    ("a length with an underscore", _post(b"", b"Content-Length: 1_0"), 400),
    ("a hexadecimal length", _post(b"", b"Content-Length: 0x3"), 400),
    ("a length with a fraction", _post(b"", b"Content-Length: 3.0"), 400),
    ("a length in superscript", _post(b"abc", b"Content-Length: \xb3"), 400),
    ("a length list of equals", _post(b"abc", b"Content-Length: 3, 3"), 400),
    ("two equal lengths", _post(b"abc", b"Content-Length: 3", b"Content-Length: 3"), 400),
    ("two lengths", _post(b"abc", b"Content-Length: 3", b"content-length: 0"), 400),
    ("two content types", _get(b"/", b"Content-Type: a/b", b"Content-Type: a/b"), 400),
]

CODINGS: list[Case] = [
    ("one chunk", _chunked(b"3\r\nabc\r\n0\r\n\r\n"), ["POST /in abc"]),
    ("several chunks", _chunked(b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"), ["POST /in abc0123456789"]),
    ("no chunk but the last", _chunked(b"0\r\n\r\n"), ["POST /in"]),
    ("Chunked in capitals", _post(b"1\r\na\r\n0\r\n\r\n", b"Transfer-Encoding: ChunkED"), ["POST /in a"]),
    ("a request behind the last chunk", _chunked(b"0\r\n\r\n") + _get(b"/2"), ["POST /in", "GET /2"]),
    ("CR LF as data", _chunked(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"), ["POST /in \r\n\r\n"]),
    (
        "a size in both cases of letters",
        _chunked(b"0aB\r\n" + b"x" * 171 + b"\r\n0\r\n\r\n"),
        ["POST /in " + "x" * 171],
    ),
    ("a last chunk of many zeros", _chunked(b"0000000000000000\r\n\r\n"), ["POST /in"]),
    ("a chunk that breaks off", _chunked(b"3\r\nab"), [MORE]),
    ("a body without its last chunk", _chunked(b"3\r\nabc\r\n"), [MORE]),
    ("a body without its last line", _chunked(b"3\r\nabc\r\n0\r\n"), [MORE]),
    ("a size of 17 digits", _chunked(b"00000000000000003\r\nabc\r\n0\r\n\r\n"), 400),
    ("a size beyond 63 bits", _chunked(b"8000000000000000\r\n"), 413),
    ("no size", _chunked(b"\r\nabc\r\n0\r\n\r\n"), 400),
    ("a size with a prefix", _chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    ("a size with a plus", _chunked(b"+3\r\nabc\r\n0\r\n\r\n"), 400),
    ("a negative size", _chunked(b"-3\r\nabc\r\n0\r\n\r\n"), 400),
    ("a size with an underscore", _chunked(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"), 400),
    ("a space before the size", _chunked(b" 3\r\nabc\r\n0\r\n\r\n"), 400),
    ("a space after the size", _chunked(b"3 \r\nabc\r\n0\r\n\r\n"), 400),
    ("a size that ends in LF alone", _chunked(b"3\nabc\r\n0\r\n\r\n"), 400),
    ("a size that ends in CR alone", _chunked(b"3\rabc\r\n0\r\n\r\n"), 400),
    ("data without CR LF", _chunked(b"3\r\nabc0\r\n\r\n"), 400),
    ("data with LF alone", _chunked(b"3\r\nabc\n0\r\n\r\n"), 400),
    ("data with CR and something else", _chunked(b"3\r\nabc\rX0\r\n\r\n"), 400),
    ("more data than the size", _chunked(b"3\r\nabcd\r\n0\r\n\r\n"), 400),
    ("a last chunk that ends in LF alone", _chunked(b"0\r\n\n"), 400),
    ("an extension", _chunked(b"3;a=b\r\nabc\r\n0;c\r\n\r\n"), ["POST /in abc"]),
    ("extensions with white space", _chunked(b'3 ; a = "b\\"; c" ;\td\r\nabc\r\n0\r\n\r\n'), ["POST /in abc"]),
    ("an empty extension", _chunked(b"3;\r\nabc\r\n0\r\n\r\n"), 400),
    ("an extension without a value", _chunked(b"3;a=\r\nabc\r\n0\r\n\r\n"), 400),
    ("an open quoted extension", _chunked(b'3;a="b\r\nabc\r\n0\r\n\r\n'), 400),
    ("LF in an extension", _chunked(b"3;a\nabc\r\n0\r\n\r\n"), 400),
    ("CR in an extension", _chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n"), 400),
    ("NUL in a quoted extension", _chunked(b'3;a="\x00"\r\nabc\r\n0\r\n\r\n'), 400),
    ("white space behind an extension", _chunked(b"3;a \r\nabc\r\n0\r\n\r\n"), 400),
    ("a trailer is dropped", _chunked(b"0\r\nX-Sum: 1\r\n\r\n") + _get(b"/2"), ["POST /in", "GET /2"]),
    ("a trailer that would frame", _chunked(b"0\r\nContent-Length: 9\r\n\r\n"), ["POST /in"]),
    ("a trailer without a colon", _chunked(b"0\r\nGET / HTTP/1.1\r\n\r\n"), 400),
    ("a trailer with a space before the colon", _chunked(b"0\r\nX : a\r\n\r\n"), 400),
    ("a folded trailer", _chunked(b"0\r\nX: a\r\n b\r\n\r\n"), 400),
    ("a trailer with LF alone", _chunked(b"0\r\nX: a\n\r\n"), 400),
    ("a length as well", _chunked(b"0\r\n\r\n", b"Content-Length: 5"), 400),
    ("a length before it", _post(b"0\r\n\r\n", b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
    ("chunked twice", _post(b"0\r\n\r\n", b"Transfer-Encoding: chunked, chunked"), 400),
    ("chunked on two lines", _chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked"), 400),
    ("identity", _post(b"", b"Transfer-Encoding: identity"), 400),
    ("an empty coding", _post(b"", b"Transfer-Encoding:"), 400),
    ("gzip without chunked", _post(b"", b"Transfer-Encoding: gzip"), 400),
    ("gzip before chunked", _post(b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked"), 501),
    ("gzip and chunked on two lines", _post(b"", b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"), 501),
    ("chunked before gzip", _post(b"0\r\n\r\n", b"Transfer-Encoding: chunked, gzip"), 400),
    ("chunked with a parameter", _post(b"0\r\n\r\n", b"Transfer-Encoding: chunked;a=b"), 400),
    ("chunked in quotes", _post(b"0\r\n\r\n", b'Transfer-Encoding: "chunked"'), 400),
    ("chunked with a control character", _post(b"0\r\n\r\n", b"Transfer-Encoding: \x0bchunked"), 400),
    ("a list with an empty part", _post(b"0\r\n\r\n", b"Transfer-Encoding: ,chunked"), 400),
    ("xchunked", _post(b"0\r\n\r\n", b"Transfer-Encoding: xchunked"), 400),
    (
        "chunked in 1.0",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("a coding under a name with a space", _post(b"", b"Transfer-Encoding : chunked"), 400),
    ("a coding under another name is no coding", _get(b"/", b"Transfer_Encoding: chunked"), ["GET /"]),
]

CONNECTIONS: list[Case] = [
    ("several requests", _get(b"/1") + _get(b"/2") + _get(b"/3"), ["GET /1", "GET /2", "GET /3"]),
    ("nothing is read after close", _get(b"/1", b"Connection: close") + b"\x00", ["GET /1"]),
    ("nothing is read after a list with close", _get(b"/1", b"Connection: x, CLOSE") + _get(b"/2"), ["GET /1"]),
    ("close on the second line", _get(b"/1", b"Connection: x", b"Connection: close") + _get(b"/2"), ["GET /1"]),
    ("1.0 does not persist", b"GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n", ["GET /1"]),
    (
        "1.0 persists when asked to",
        b"GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
        ["GET /1", "GET /2"],
    ),
    ("nothing is read after an error", _get(b"/1") + _get(b"/2", b"X") + _get(b"/3"), 400),
    ("100-continue", _post(b"abc", b"Expect: 100-Continue", b"Content-Length: 3"), ["POST /in abc"]),
    ("another expectation", _post(b"abc", b"Expect: tea", b"Content-Length: 3"), 417),
    ("an expectation in 1.0 is ignored", b"GET / HTTP/1.0\r\nExpect: tea\r\n\r\n", ["GET /"]),
]

CASES: list[Case] = REQUEST_LINES + TARGETS + FIELDS + HOSTS + LENGTHS + CODINGS + CONNECTIONS
