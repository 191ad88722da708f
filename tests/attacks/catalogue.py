"""Knows every attack as data: how many connections, what they send, read and do to the server.  Opens none of them."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1 << 20
BIG = f"/big/{MB}"  # the path of the response that is read slowly

ALL, SLOWLY, NEVER = "all", "slowly", "never"


def request(path: str = "/", *lines: str, method: str = "GET") -> bytes:
    """A request head, complete with its empty line."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: attacked", *lines, "", "")).encode()


def unfinished(head: bytes) -> bytes:
    """The same head, waiting for further lines."""
    return head[:-2]


@dataclass(frozen=True)
class Attack:
    """``connections`` at full scale; each sends one of ``first``, then ``drip`` every ``every`` seconds.

    ``reads`` says what becomes of answers: all are read at once, a few bytes are taken at each drip, or none ever.
    A connection that the server ends is opened again, at most ``rate`` of them in a second, as when they are made.
    """

    name: str
    connections: int
    first: tuple[bytes, ...] = (b"",)
    drip: bytes = b""
    every: float = 1.0
    reads: str = ALL
    receive_buffer: int = 0
    rate: int = 2000
    awaits_answer: bool = False  # established only when it has been answered once
    half_closes: bool = False  # ends its sending side after ``first``
    floods: bool = False  # sends ``first`` again and again, as fast as the server takes it
    resets: bool = False  # a storm: ``connections`` a second, each cut by a reset as soon as ``first`` is sent
    scales: bool = True
    lasts: float = 1.0  # times the usual length, where the server's own time limit has to strike while we look
    tool: tuple[str, ...] = ()  # the mode of slowhttptest, which then does it all

    def count(self, scale: float) -> int:
        """The number of connections, or of connections a second in a storm, at this scale."""
        return max(1, round(self.connections * scale)) if self.scales else self.connections


_POST = ("Content-Length: 1000000",)
_CHUNKED = ("Transfer-Encoding: chunked",)

ATTACKS = (
    Attack("slow headers", 2000, (unfinished(request()),), b"X-Slow: 1\r\n", lasts=1.75),
    Attack("slow bodies", 2000, (request("/", *_POST, method="POST"),), b"x"),
    Attack("slow chunks", 1000, (request("/", *_CHUNKED, method="POST"),), b"1\r\nx\r\n"),
    Attack("slow readers", 500, (request(BIG),), reads=SLOWLY, receive_buffer=4096, awaits_answer=True),
    Attack("idle keep-alive", 10_000, (request(),), awaits_answer=True),
    Attack("silent", 1000, lasts=1.75),
    Attack("pipelining", 1, (request() * 500,), floods=True, scales=False),
    Attack("pipelining unread", 100, (request() * 500,), floods=True, reads=NEVER, receive_buffer=4096),
    Attack("resets", 2000, (b"", unfinished(request()), request(), request(BIG)), resets=True),
    Attack("half-close", 1000, (unfinished(request()), request()), half_closes=True, rate=1000),
    Attack("slowhttptest headers", 2000, tool=("-H", "-i", "2")),
    Attack("slowhttptest body", 2000, tool=("-B", "-i", "2", "-s", "100000")),
    Attack("slowhttptest read", 500, tool=("-X", "-w", "512", "-y", "1024", "-n", "2", "-z", "32", "-k", "1")),
)


def key(name: str) -> str:
    """How an attack is called on the command line."""
    return name.replace(" ", "-")


def chosen(words: list[str]) -> list[Attack]:
    """The attacks whose key is one of the words or begins with it; ValueError for a word that means none."""
    found: list[Attack] = []
    for word in words:
        exact = [attack for attack in ATTACKS if key(attack.name) == word]
        meant = exact or [attack for attack in ATTACKS if key(attack.name).startswith(word)]
        if not meant:
            raise ValueError(f"no attack is called {word}; there are {', '.join(key(each.name) for each in ATTACKS)}")
        found += meant
    return [attack for attack in ATTACKS if attack in found]
