"""The promises, each a function that tries it on a server of its own and raises Broken when it is not kept.

``PROMISES`` is the only list of them; the docstring of each says what is promised.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from server_core.contract.trial import PATIENCE, Broken, Trial, eventually, expect, is_alive

Promise = Callable[[str], None]
PROMISES: dict[str, Promise] = {}

#: requests that nobody may take for one that is right, or for two (RFC 9112; see docs/discussion/http.md)
REFUSED = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
)
#: what would be answered if one of them were taken for two requests
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def promise(function: Promise) -> Promise:
    """Add to the list."""
    PROMISES[function.__name__] = function
    return function


@promise
def answers(worker_class: str) -> None:
    """GET, HEAD and POST are answered, with sized and with chunked bodies; an application's failure is a 500."""
    with Trial(worker_class) as trial, trial.connect() as client:
        status, _, body = client.get("/some/path").answer()
        expect((status, body) == (200, b"hello /some/path"), f"GET was answered {status} {body!r}")
        status, fields, _ = client.get("/large/2", method="HEAD").answer(head_only=True)
        expect(fields.get("content-length") == "32768", f"HEAD was told {fields}")
        body = os.urandom(100_000)
        expect(client.get("/echo", method="POST", body=body).answer()[2] == body, "a sized body was changed")
        client.get("/echo", "Transfer-Encoding: chunked", method="POST").send(
            b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
        )
        expect(client.answer()[2] == b"abcde", "a chunked body was changed")
        expect(client.get("/fail").answer()[0] == 500, "an application that fails is no 500")


@promise
def keeps_connections_alive(worker_class: str) -> None:
    """A connection serves many requests, unless its client asks to close it or speaks HTTP/1.0."""
    with Trial(worker_class) as trial:
        with trial.connect() as client:
            for number in range(20):
                expect(client.get(f"/{number}").answer()[2] == b"hello /%d" % number, "an answer got lost")
            client.get("/last", "Connection: close").answer()
            expect(client.rest() == b"", "something came after Connection: close")
        with trial.connect() as client:
            client.get("/old", version="1.0").answer()
            expect(client.rest() == b"", "HTTP/1.0 was kept alive without being asked")


@promise
def answers_in_order(worker_class: str) -> None:
    """Requests that come at once on one connection are answered in their order."""
    with Trial(worker_class) as trial, trial.connect() as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(100)))
        for number in range(100):
            body = client.answer()[2]
            expect(body == b"hello /%d" % number, f"answer {number} was {body!r}")


@promise
def streams(worker_class: str) -> None:
    """A block leaves when the application has yielded it, not when the next one comes."""
    with Trial(worker_class) as trial, trial.connect() as client:
        began = time.monotonic()
        client.get("/blocks/1").head()
        expect(client.chunk() == b"first", "the first block was changed")
        expect(time.monotonic() - began < 0.8, "the first block waited for the second")
        expect([client.chunk(), client.chunk()] == [b"second", b""], "the second block was changed")


@promise
def slow_clients_hold_up_nobody(worker_class: str) -> None:
    """Who sends a head or a body slowly, or reads slowly, keeps nobody else from being served."""
    with Trial(worker_class) as trial:
        slow = [trial.connect() for _ in range(30)]
        for number, client in enumerate(slow):
            if number % 3 == 0:
                client.send(b"GET / HTTP/1.1\r\nHos")
            elif number % 3 == 1:
                client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
            else:
                client.get("/large/600")
        began = time.monotonic()
        for _ in range(10):
            expect(trial.ask("/quick") == b"hello /quick", "an answer got lost")
        expect(time.monotonic() - began < 5, "others had to wait for slow clients")
        expect(len(slow[2].answer()[2]) == 600 * 16384, "the slow reader's answer is not whole")
        for client in slow:
            client.close()


@promise
def keeps_deadlines(worker_class: str) -> None:
    """A head that does not come in time is answered 408; an idle connection is closed."""
    with Trial(worker_class, "--head-timeout", "1", "--keep-alive", "1") as trial:
        with trial.connect() as client:
            status = client.send(b"GET / HTTP/1.1\r\nHos").answer()[0]
            expect(status == 408, f"a head that never became whole was answered {status}")
        with trial.connect() as client:
            client.get("/").answer()
            began = time.monotonic()
            expect(client.rest() == b"", "something came on an idle connection")
            expect(time.monotonic() - began < 5, "an idle connection was kept too long")


@promise
def refuses_what_is_wrong(worker_class: str) -> None:
    """A request that breaks a rule is answered with an error, and what follows it is not read as another one."""
    with Trial(worker_class) as trial:
        for data in REFUSED:
            with trial.connect() as client:
                answer = client.send(data + SMUGGLED).rest()
            expect(answer[9:10] in (b"4", b"5"), f"{data!r} was answered {answer[:40]!r}")
            expect(answer.count(b"HTTP/1.1 ") == 1, f"what followed {data!r} was answered too")
        expect(trial.ask("/next") == b"hello /next", "the server does not serve any more")


@promise
def closes_the_iterable_of_a_client_that_is_gone(worker_class: str) -> None:
    """``close()`` of the application's iterable is called when nobody listens any more."""
    with Trial(worker_class) as trial:
        path = os.path.join(trial.directory, "closed")
        client = trial.connect()
        client.get(f"/endless?{path}").head()
        client.close()
        eventually(lambda: os.path.exists(path), "close() was not called")
        expect(trial.ask("/next") == b"hello /next", "the server does not serve any more")


@promise
def is_valid_wsgi(worker_class: str) -> None:
    """``wsgiref.validate`` has nothing to object to (PEP 3333)."""
    with Trial(worker_class) as trial, trial.connect() as client:
        for method, body in (("GET", b""), ("POST", b"abc"), ("PUT", b"x" * 100_000)):
            status, _, answer = client.get("/valid/a%20b?c=d", method=method, body=body).answer()
            expect((status, answer) == (200, b"valid " + body), f"{method}: {status} {answer[:80]!r}\n{trial.log}")


@promise
def tells_each_request_once(worker_class: str) -> None:
    """The access log has one line for each request, also for one that was refused or failed."""
    with Trial(worker_class) as trial:
        with trial.connect() as client:
            for target in ("/one", "/two", "/fail"):
                client.get(target).answer()
        with trial.connect() as client:
            client.send(b"GET /three HTTP/1.1\r\n\r\n").rest()
        eventually(lambda: len(trial.access_lines()) >= 4, "a line is missing in the access log")
        lines = trial.access_lines()
        for text in ('"GET /one HTTP/1.1" 200', '"GET /two HTTP/1.1" 200', '"GET /fail HTTP/1.1" 500', " 400 "):
            expect(sum(text in line for line in lines) == 1, f"{text!r} is not told once: {lines}")


@promise
def drains(worker_class: str) -> None:
    """After TERM running requests are answered whole, new clients are refused, and the server ends with 0."""
    with Trial(worker_class) as trial, trial.connect() as client, trial.connect() as idle:
        idle.get("/").answer()
        client.get("/blocks/1").head()
        client.chunk()
        trial.signal(signal.SIGTERM)
        trial.read_until("SIGTERM")
        expect([client.chunk(), client.chunk()] == [b"second", b""], "a running request was cut off")
        expect(idle.rest() == b"", "something came on an idle connection")
        expect(trial.process.wait(PATIENCE) == 0, f"the server ended with {trial.process.returncode}:\n{trial.log}")


@promise
def quits(worker_class: str) -> None:
    """After QUIT all ends at once, running requests or not."""
    with Trial(worker_class) as trial, trial.connect() as client:
        worker = trial.worker()
        client.get("/blocks/60").head()
        began = time.monotonic()
        trial.signal(signal.SIGQUIT)
        trial.process.wait(PATIENCE)
        eventually(lambda: not is_alive(worker), "the worker is still there")
        expect(time.monotonic() - began < 5, "it took too long")


@promise
def ends_when_the_arbiter_is_gone(worker_class: str) -> None:
    """A worker whose arbiter was killed answers what is running, and ends."""
    with Trial(worker_class) as trial, trial.connect() as client:
        worker = trial.worker()
        client.get("/blocks/1").head()
        client.chunk()
        trial.process.kill()
        expect([client.chunk(), client.chunk()] == [b"second", b""], "a running request was cut off")
        eventually(lambda: not is_alive(worker), "the worker is still there")


@promise
def is_recycled(worker_class: str) -> None:
    """After ``max_requests`` another worker takes over, and no request is lost."""
    with Trial(worker_class, "--max-requests", "5") as trial:
        seen: set[bytes] = set()

        def has_changed() -> bool:
            seen.add(trial.ask("/pid"))
            return len(seen) > 2

        eventually(has_changed, "the worker was not replaced")


@promise
def shows_signs_of_life(worker_class: str) -> None:
    """A worker that has nothing to do, or much to do, is not taken for one that hangs (``timeout``)."""
    with Trial(worker_class, "--timeout", "1") as trial:
        worker = trial.worker()
        time.sleep(2.5)  # nothing happens: that is what is tried
        expect(trial.worker() == worker, "an idle worker was replaced")
        until = time.monotonic() + 2.5
        with trial.connect() as client:
            while time.monotonic() < until:
                client.get("/").answer()
        expect(trial.worker() == worker, "a busy worker was replaced")


def broken(worker_class: str, name: str) -> str:
    """Try one promise; "" when it is kept, else what was wrong."""
    try:
        PROMISES[name](worker_class)
    except Broken as error:
        return str(error)
    except OSError as error:  # a connection that breaks, or a client that waits in vain
        return f"{type(error).__name__}: {error}"
    return ""
