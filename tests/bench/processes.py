"""Knows how one server is run on its cores, seen to answer right, loaded, and stopped to the last process.

Linux only: processor affinity and /proc.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from figures import (
    Load,
    Round,
    Stat,
    complaint,
    established,
    family,
    imbalance,
    leaves,
    parse_stat,
    parse_wrk,
    pss_mb,
    steady_load,
)
from peers import BODY, Server, Workload

START_LIMIT = 20.0  # seconds until the first right answer
STOP_LIMIT = 3.0  # seconds to stop when asked; then it is killed
_PAUSE = 0.02
_REST, _MOVED_MB = 2.0, 0.2  # a server that has moved less than that for so many seconds is at rest
_GLANCE = 0.005  # between two looks at a server that is starting
_STEADY, _HANDSHAKES = (Path(__file__).with_name(name) for name in ("steady.py", "handshakes.py"))
_PLAIN = Workload("", "")
_TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A server did not start, or did not answer right; the message says which."""


@dataclass(frozen=True)
class Bench:
    """Where servers are installed and run, and which core is whose."""

    environment: Path
    apps: Path
    logs: Path
    server_core: int
    client_core: int
    files: Path = Path(tempfile.gettempdir())  # what servers and applications are given to read and write

    def server_cores(self, workers: int) -> set[int]:
        return {self.server_core} if workers == 1 else {self.server_core, self.client_core}

    def client_cores(self, workers: int) -> set[int]:
        return {self.client_core} if workers == 1 else {self.server_core, self.client_core}


@dataclass(frozen=True)
class Right:
    """What a server is asked for until it is ready, and what must be in the answer."""

    path: str = "/"
    text: bytes = BODY


@dataclass(frozen=True)
class Running:
    """A server that has answered right; ``seconds`` is how long that took from its start."""

    server: Server
    root: int
    port: int
    keeps_alive: bool
    seconds: float
    scheme: str = "http"


@contextmanager
def running(
    bench: Bench,
    server: Server,
    application: str,
    given: Workload = _PLAIN,
    right: Right | None = None,
    unasked: bool = False,
) -> Iterator[Running]:
    """A server that is ready: it has answered, or, ``unasked``, all its workers are there and have come to rest."""
    port = _free_port()
    if server.config:
        server.config_file(bench.files).write_text(server.config_text(port, given.workers, bench.files))
    log, began = bench.logs / f"{server.key}.log", time.monotonic()
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                server.command_line(bench.environment, port, application, given, bench.files),
                cwd=bench.apps,
                env=os.environ | {"BENCH_FILES": str(bench.files)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_pinned(bench.server_cores(given.workers)),
            )
        except OSError as error:
            raise Failed(f"cannot be started: {error.strerror}") from error
    try:
        if unasked:
            _await_rest(process, given.workers, log)
            yield Running(server, process.pid, port, True, time.monotonic() - began)
        else:
            scheme = "https" if given.tls else "http"
            keeps_alive, answered = _await_answer(process, port, log, right or Right(), scheme)
            yield Running(server, process.pid, port, keeps_alive, answered - began, scheme)
    finally:
        _stop(process)


def load(
    bench: Bench,
    target: Running,
    given: Workload,
    connections: int,
    seconds: int,
    arrivals: float | None = None,
    warm_up: int = 1,
) -> Round:
    """One round: a second to warm up, then the load, then the memory that the server holds after it."""
    if warm_up:
        _client(bench, target, given, connections, warm_up, arrivals)
    before, began = _ticks(target.root), time.monotonic()
    told, balance = _client(bench, target, given, connections, seconds, arrivals)
    elapsed, ticks = time.monotonic() - began, _ticks(target.root) - before
    tree, worker = _memory(target)
    if given.logged:
        _check_log(target.server.access_log(bench.files))
    return Round(told, tree, worker, ticks / _TICK, elapsed, balance)


def _check_log(access_log: Path) -> None:
    written = access_log.stat().st_size if access_log.exists() else 0
    access_log.unlink(missing_ok=True)
    if not written:
        raise Failed("wrote no access log")


def _client(
    bench: Bench, target: Running, given: Workload, connections: int, seconds: int, arrivals: float | None
) -> tuple[Load, float | None]:
    """The load, and how evenly its connections were spread over the workers if there are several."""
    if arrivals:
        command = [sys.executable, str(_STEADY), str(target.port), f"{arrivals:g}", str(seconds), str(connections),
                   str(given.slow_every)]  # fmt: skip
    elif given.handshakes:
        command = [sys.executable, str(_HANDSHAKES), str(target.port), str(seconds), str(connections)]
    else:
        extra = [word.format(apps=bench.apps) for word in given.wrk]
        extra += ["--timeout", f"{given.patience}s"] if given.patience else []
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *extra,
                   f"{target.scheme}://127.0.0.1:{target.port}{given.path}"]  # fmt: skip
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_pinned(bench.client_cores(given.workers)),
    ) as process:
        try:
            time.sleep(seconds / 4)
            # Our own clients open connections themselves, and are themselves newcomers at each request.
            own = bool(arrivals) or given.handshakes
            served = own or _newcomer_is_served(target, patience=given.patience or seconds * 3 / 4)
            balance = _balance(target, given.workers) if given.workers > 1 and not target.server.routed else None
            output, _ = process.communicate(timeout=seconds + START_LIMIT)
        except BaseException:
            process.kill()
            raise
    told = _parse_own(output, seconds) if own else parse_wrk(output, given.harmless)
    return told if served else replace(told, errors=told.errors | {"newcomer starved": 1}), balance


def _parse_own(output: str, seconds: int) -> Load:
    try:
        told = json.loads(output)
    except ValueError:
        raise ValueError(f"the client ended early: {complaint(output)}") from None
    return steady_load(told["fast"], told["slow"], told["errors"], max(told["elapsed"], seconds))


def _balance(target: Running, workers: int) -> float | None:
    """How the open connections are spread over the processes that hold them."""
    open_ones = established(Path("/proc/net/tcp").read_text(), target.port)
    return imbalance([len(sockets(pid) & open_ones) for pid in members(target.root)], workers)


def sockets(pid: int) -> set[int]:
    """The inodes of all sockets that a process has open."""
    found = set()
    with suppress(OSError):  # it may have ended, and so may any of its files
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                kind, _, inode = os.readlink(entry.path).partition(":")
                if kind == "socket":
                    found.add(int(inode.strip("[]")))
    return found


def _connection(port: int, scheme: str, patience: float) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=patience, context=anybody)


def _newcomer_is_served(target: Running, patience: float) -> bool:
    """wrk says nothing of connections that never get an answer; a visitor who comes during the load finds out."""
    connection = _connection(target.port, target.scheme, patience)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _await_answer(
    process: subprocess.Popen[bytes], port: int, log: Path, right: Right, scheme: str
) -> tuple[bool, float]:
    """Waits for the first right answer; returns whether a second request went over the same connection, and when."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"ended with status {process.returncode} while starting: {_said(log)}")
        with suppress(ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected):
            return _answers_right(_connection(port, scheme, max(deadline - time.monotonic(), _PAUSE)), right)
        time.sleep(_GLANCE)
    raise Failed(f"gave no answer within {START_LIMIT:g} s: {_said(log)}")


def _await_rest(process: subprocess.Popen[bytes], workers: int, log: Path) -> None:
    """Waits until all workers are there and no memory has moved for a while."""
    deadline = time.monotonic() + START_LIMIT
    seen, since = 0.0, time.monotonic()
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"ended with status {process.returncode} while starting: {_said(log)}")
        now = tree_mb(process.pid)
        if abs(now - seen) > _MOVED_MB or len(members(process.pid)) <= workers:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > _REST:
            return
        time.sleep(_PAUSE)
    raise Failed(f"did not come to rest within {START_LIMIT:g} s: {_said(log)}")


def _answers_right(connection: http.client.HTTPConnection, right: Right) -> tuple[bool, float]:
    try:
        _ask(connection, right)
        answered = time.monotonic()
        first = connection.sock.getsockname() if connection.sock else None
        _ask(connection, right)
        second = connection.sock.getsockname() if connection.sock else None
        return first is not None and first == second, answered
    except TimeoutError as error:
        raise Failed(f"accepted a connection but gave no answer within {connection.timeout:.0f} s") from error
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, right: Right) -> None:
    connection.request("GET", right.path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200 or right.text not in body:
        raise Failed(f"answered {response.status} {body[:60]!r} instead of 200 {right.text!r}")


def _said(log: Path) -> str:
    return complaint(log.read_text(errors="replace"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asks the whole process group to stop, then kills whoever of the family is left."""
    known = members(process.pid)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT
    while left := _left(process, known):
        if time.monotonic() > deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)
    process.wait()


def _left(process: subprocess.Popen[bytes], known: set[int]) -> set[int]:
    process.poll()
    stats = _stats()
    return family(stats, process.pid) | {pid for pid in known if pid in stats and stats[pid].state not in "ZX"}


def members(root: int) -> set[int]:
    """The living processes of a server."""
    return family(_stats(), root)


def workers_of(root: int) -> set[int]:
    """Those of them that are nobody's parent."""
    stats = _stats()
    return leaves(stats, family(stats, root))


def tree_mb(root: int) -> float:
    """The memory of all of them."""
    return sum(_sizes(family(_stats(), root)).values())


def _memory(target: Running) -> tuple[float, float | None]:
    """The whole family's memory, and that of one worker if this server's workers can be told from the rest."""
    stats = _stats()
    sizes = _sizes(family(stats, target.root))
    workers = [sizes[pid] for pid in leaves(stats, sizes)]
    return sum(sizes.values()), sum(workers) / len(workers) if workers and target.server.leaf_is_worker else None


def _sizes(pids: set[int]) -> dict[int, float]:
    sizes: dict[int, float] = {}
    for pid in pids:
        with suppress(OSError):
            sizes[pid] = pss_mb(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return sizes


def _ticks(root: int) -> int:
    stats = _stats()
    return sum(stats[pid].ticks for pid in family(stats, root))


def _stats() -> dict[int, Stat]:
    found: dict[int, Stat] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                found[int(entry)] = parse_stat(Path(f"/proc/{entry}/stat").read_text(errors="replace"))
    return found


def _pinned(cores: set[int]) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, cores)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
