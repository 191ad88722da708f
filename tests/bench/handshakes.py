"""Knows how to be visitors by TLS whom the server has never seen: each request has a connection and a whole handshake
of its own.  (wrk resumes its sessions, which costs a server much less.)

Called as ``handshakes.py PORT SECONDS CONNECTIONS``; so many are under way at a time.  It prints what ``steady.py``
prints, with the milliseconds from the connect to the end of the answer.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections import Counter

from steady import complete

LIMIT = 5.0  # seconds that a server may keep somebody waiting


def visit(context: ssl.SSLContext, port: int) -> None:
    """One request; OSError or ValueError, whose first argument names the kind, when it is not answered as it should."""
    with socket.create_connection(("127.0.0.1", port), LIMIT) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=True) as tls:
            if tls.session_reused:
                raise ValueError("resumed")
            tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            received = b""
            while not complete(received):
                data = tls.recv(65536)
                if not data:
                    raise ValueError("closed")
                received += data


def main(words: list[str]) -> None:
    port, seconds, connections = map(int, words)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    times: list[float] = []
    errors: Counter[str] = Counter()
    began = time.perf_counter()

    def be_visitors() -> None:
        while (start := time.perf_counter()) - began < seconds:
            try:
                visit(context, port)
            except ValueError as error:
                errors[str(error)] += 1
            except OSError:
                errors["connection"] += 1
            else:
                times.append((time.perf_counter() - start) * 1000)

    threads = [threading.Thread(target=be_visitors) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"fast": times, "slow": [], "errors": errors, "elapsed": time.perf_counter() - began}))


if __name__ == "__main__":
    main(sys.argv[1:])
