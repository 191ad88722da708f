"""Knows that a transport has a socket's contract: what is told to be sent has left, nothing is lost or held."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import schedules
from schedules import Play, PlayedPoller, PlayedSocket
from tls_client import TlsClient, trusting

from server_core import adhoc, certificates
from server_core.engine.budget import Budget
from server_core.engine.secure import SecureOutbox
from server_core.engine.transport import MOST_UNHEARD, SENT_AT_ONCE, NotTLS, Transport
from server_core.settings import Timeouts, Tls
from server_core.tls import context_of

DATA = bytes(range(256)) * 8192


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssl.SSLContext]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        pem = adhoc.certificate_for(list(adhoc.LOCAL)).pem
        yield context_of(certificates.Pair(certificates.Piece("certfile", "", "", pem), None), None, Tls(), {})


class Pair:
    """A transport, ``ours``, and its client, both without waiting; ``looks`` counts the calls of look_again."""

    def __init__(self, context: ssl.SSLContext, buffer: int = 0, version: ssl.TLSVersion | None = None) -> None:
        server, client = socket.socketpair()
        if buffer:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        server.setblocking(False)
        client.setblocking(False)
        self.server = server
        self.looks = 0
        self.ours = Transport(server, context, b"", self._look_again)
        trust = trusting() if version is None else trusting(minimum_version=version, maximum_version=version)
        self.theirs = TlsClient(client, trust, shake=False)

    def _look_again(self, descriptor: int) -> None:
        assert descriptor == self.server.fileno()
        self.looks += 1

    def shake_hands(self) -> Pair:
        done = False
        while not done:
            try:
                self.theirs.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            self.theirs.flush()
            with pytest.raises(BlockingIOError):
                self.ours.recv(1000)
            try:
                self.theirs.fill()
            except BlockingIOError:
                pass
        return self

    def arrived(self) -> bytes:
        """What the client can read now, without the server doing anything more."""
        data = b""
        try:
            while more := self.theirs.recv(65536):
                data += more
        except BlockingIOError:
            pass
        return data

    def close(self) -> None:
        self.server.close()
        self.theirs.close()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def make(request: pytest.FixtureRequest, context: ssl.SSLContext) -> Iterator[Callable[..., Pair]]:
    """``make(buffer)``: a pair that has shaken hands; with a ``buffer`` the server's socket holds about so much."""
    made: list[Pair] = []

    def one(buffer: int = 0) -> Pair:
        made.append(Pair(context, buffer, request.param))
        return made[-1].shake_hands()

    yield one
    for pair in made:
        pair.close()


class TestSending:
    @pytest.mark.parametrize("seed", range(30))
    def test_what_is_told_to_be_sent_has_left_however_it_is_offered(self, make: Callable[..., Pair], seed: int):
        chance = random.Random(seed)
        pair = make(chance.choice((0, 4096, 20_000, 200_000)))
        total = chance.choice((1, 5000, 100_000, 1_000_000))
        sent, most_offered, arrived = 0, 0, b""
        while sent < total:
            count = chance.choice((1, 10, 8192, 16384, 70_000, total))
            offered = DATA[sent : min(total, sent + count)]
            most_offered = max(most_offered, sent + len(offered))
            try:
                if chance.random() < 0.2:
                    cut = chance.randrange(len(offered))
                    taken = pair.ours.sendmsg((offered[:cut], offered[cut:]))
                else:
                    taken = pair.ours.send(memoryview(offered) if chance.random() < 0.5 else offered)
                assert 0 < taken <= len(offered)
            except BlockingIOError:
                taken = 0
            sent += taken
            if taken < len(offered) or chance.random() < 0.1:
                arrived += pair.arrived()
                if sent == most_offered:
                    assert len(arrived) == sent, "it was told of more than has left"
        arrived += pair.arrived()
        assert arrived == DATA[:total]
        assert pair.ours.say_goodbye()
        assert pair.theirs.recv(1) == b""
        assert pair.theirs.said_goodbye

    def test_a_full_socket_takes_nothing_and_hardly_anything_waits_outside_of_it(self, make: Callable[..., Pair]):
        pair = make(4096)
        sent = pair.ours.send(DATA)
        for _ in range(3):
            with pytest.raises(BlockingIOError):
                pair.ours.send(DATA[sent:])
        assert len(pair.ours._left) < SENT_AT_ONCE * 1.1

    def test_a_goodbye_that_finds_no_room_leaves_like_one_more_byte(self, make: Callable[..., Pair]):
        for size in range(100, 40_000, 50):
            pair = make(4096)
            if pair.ours.send(DATA[:size]) < size:
                raise AssertionError("no size has filled the socket to the brim")
            if not pair.ours.say_goodbye():
                break
            pair.close()
        with pytest.raises(BlockingIOError):
            pair.ours.send(b"?")
        assert pair.arrived() == DATA[:size]
        assert pair.ours.send(b"?") == 1
        assert pair.arrived() == b""
        assert pair.theirs.said_goodbye

    def test_there_is_no_goodbye_after_half_an_answer(self, make: Callable[..., Pair]):
        pair = make(4096)
        pair.ours.send(DATA)
        assert pair.ours.say_goodbye()
        pair.server.close()
        pair.arrived()
        assert not pair.theirs.said_goodbye

    def test_nothing_can_be_sent_before_the_handshake(self, context: ssl.SSLContext):
        pair = Pair(context)
        with pytest.raises(OSError, match=r".") as error:
            pair.ours.send(b"too early")
        assert not isinstance(error.value, BlockingIOError)
        assert pair.ours.say_goodbye()
        pair.close()


class TestReceiving:
    @pytest.mark.parametrize("seed", range(30))
    def test_less_than_asked_for_is_all_or_there_is_another_look(self, make: Callable[..., Pair], seed: int):
        """With events that tell of each change once, who is not told must not be left with anything."""
        chance = random.Random(seed)
        pair = make()
        total = chance.choice((10, 1000, 100_000, 1_000_000))
        sent, received, wire = 0, b"", b""
        while len(received) < total:
            if not wire and sent < total:
                for _ in range(chance.choice((1, 3, 400))):
                    count = min(total - sent, chance.choice((1, 2, 100, 16384, 50_000)))
                    wire += pair.theirs.encrypt(DATA[sent : sent + count]) if count else b""
                    sent += count
            cut = chance.choice((1, 5, 1000, 1 << 20))
            try:
                wire = wire[pair.theirs.sock.send(wire[:cut]) :]
            except BlockingIOError:
                pass
            # The event that tells of what has been sent just now; then nobody tells anything any more.
            again = True
            while again:
                most = chance.choice((100, 65536, 262_144))
                before = pair.looks
                try:
                    piece = pair.ours.recv(most)
                    assert 0 < len(piece) <= most
                    received += piece
                except BlockingIOError:
                    piece = b""
                again = len(piece) == most or pair.looks > before
            if not wire:
                assert len(received) == sent
        assert received == DATA[:total]

    def test_nothing_is_held_of_what_was_read(self, make: Callable[..., Pair]):
        pair = make()
        pair.theirs.sendall(DATA[:100_000])
        data = b""
        while len(data) < 100_000:
            data += pair.ours.recv(262_144)
        assert memoryview(pair.ours._raw.obj).nbytes == 0

    def test_a_peek_tells_whether_anything_has_come(self, make: Callable[..., Pair]):
        pair = make()
        with pytest.raises(BlockingIOError):
            pair.ours.recv(1, socket.MSG_PEEK)
        pair.theirs.sock.sendall(b"".join(pair.theirs.encrypt(DATA[:1]) for _ in range(400)))
        assert pair.ours.recv(1, socket.MSG_PEEK)
        first = pair.ours.recv(65536)
        assert 0 < len(first) < 400, "so many records are more than a turn"
        assert pair.ours.recv(1, socket.MSG_PEEK)
        assert len(first + pair.ours.recv(65536)) == 400
        with pytest.raises(BlockingIOError):
            pair.ours.recv(1, socket.MSG_PEEK)

    @pytest.mark.parametrize("how", ["goodbye", "end", "both"])
    def test_the_end_comes_after_what_came_before_it(self, make: Callable[..., Pair], how: str):
        pair = make()
        pair.theirs.sendall(b"hello")
        if how != "end":
            pair.theirs.say_goodbye()
        if how != "goodbye":
            pair.theirs.sock.shutdown(socket.SHUT_WR)
        assert pair.ours.recv(100) == b"hello"
        assert pair.looks == (how != "end"), "the end of the stream is an event of its own, a goodbye is not"
        for _ in range(2):
            assert pair.ours.recv(100) == b""
        assert pair.ours.send(b"an answer") == 9
        assert pair.arrived() == b"an answer"

    def test_there_is_another_look_when_the_end_was_seen_on_the_way(self, make: Callable[..., Pair]):
        pair = make()
        pair.theirs.sock.sendall(b"".join(pair.theirs.encrypt(DATA[:1]) for _ in range(400)))
        pair.theirs.sock.shutdown(socket.SHUT_WR)
        received = len(pair.ours.recv(65536))
        looks = pair.looks
        received += len(pair.ours.recv(65536))
        assert received == 400
        assert pair.looks == looks + 1
        assert pair.ours.recv(65536) == b""

    def test_what_is_no_tls_is_given_back(self, context: ssl.SSLContext):
        pair = Pair(context)
        pair.theirs.sock.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(NotTLS) as found:
            pair.ours.recv(1000)
        assert found.value.begins == b"GET / HTTP/1.1\r\n"
        pair.close()

    def test_bytes_that_were_received_before_come_first(self, context: ssl.SSLContext):
        server, client = socket.socketpair()
        with server, client:
            server.setblocking(False)
            theirs = TlsClient(client, trusting(), shake=False)
            with pytest.raises(ssl.SSLWantReadError):
                theirs.tls.do_handshake()
            hello = theirs.wire_bytes()
            ours = Transport(server, context, hello[:50], lambda descriptor: None)
            client.sendall(hello[50:])
            with pytest.raises(BlockingIOError):
                ours.recv(1000)
            theirs.fill()
            theirs.tls.do_handshake()
            theirs.flush()
            theirs.sendall(b"hello")
            assert ours.recv(1000) == b"hello"

    def test_a_client_that_makes_us_speak_and_does_not_listen_is_cut(self, make: Callable[..., Pair], monkeypatch):
        """What OpenSSL says by itself has no other limit."""
        pair = make(4096)
        while len(pair.ours._left) <= MOST_UNHEARD - 1000:
            pair.ours._left += b"x" * 1000  # as updates of keys would add it
            pair.ours._speak()
        pair.ours._left += b"x" * 10_000
        with pytest.raises(ConnectionError, match="does not listen"):
            pair.ours._speak()


def test_what_waits_encrypted_is_counted_until_the_outbox_is_closed(make: Callable[..., Pair]):
    budget = Budget(1 << 20, 1 << 20)
    pair = make(4096)
    outbox = SecureOutbox(pair.ours, 1 << 20, 1 << 20, Timeouts(), budget, lambda outbox: nullcontext())
    outbox.send(DATA[:500_000])
    assert budget.memory > outbox.size + len(pair.ours._left)
    outbox.close()
    assert budget.memory == 0


class Exclusive(PlayedSocket):
    """A socket that another thread finds in use whenever it may."""

    used = 0

    def __init__(self, poller: PlayedPoller) -> None:
        super().__init__(poller)
        self._inside = False

    def _use(self, do: Callable[[], Any]) -> Any:
        if self._poller._schedule.current is None:
            return do()
        assert not self._inside, "two threads at once"
        self._inside = True
        Exclusive.used += 1
        try:
            self._poller._schedule.pause()
            return do()
        finally:
            self._inside = False

    def recv(self, count: int, flags: int = 0) -> bytes:
        data: bytes = self._use(lambda: PlayedSocket.recv(self, count, flags))
        return data

    def send(self, data: bytes) -> int:
        count: int = self._use(lambda: PlayedSocket.send(self, data))
        return count


class Streams(Play):
    """An application whose answers leave piece by piece."""

    def _application(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        body = environ["PATH_INFO"].encode()
        seconds = int(environ["PATH_INFO"].strip("/")) * 1e-6
        start_response("200 OK", [("Content-Length", str(len(body)))])
        for position in range(len(body)):
            self.schedule.sleep(seconds / len(body))
            yield body[position : position + 1]


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_no_two_threads_use_a_connection_at_the_same_time(first: int, monkeypatch: pytest.MonkeyPatch):
    """OpenSSL would not stand it: nobody reads while somebody sends, nor do two send."""
    monkeypatch.setattr(schedules, "PlayedSocket", Exclusive)
    Exclusive.used = 0
    for seed in range(first, first + 100):
        chance = random.Random(seed)
        play = (Streams if seed % 2 else Play)(seed, chance.randint(1, 4))
        for _ in range(chance.randint(1, 4)):
            requests = [[chance.choice((0, 100, 3000)) for _ in range(chance.choice((1, 3)))] for _ in range(3)]
            play.client(requests, [chance.choice((0.0, 5e-3)) for _ in requests], room=chance.choice((1 << 20, 60)))
        try:
            play.run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert Exclusive.used > 1000
