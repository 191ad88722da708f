"""Knows how one server is run on one core, seen to answer right, loaded with wrk, and stopped to the last process.

Linux only: processor affinity and /proc.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from figures import Load, Round, Stat, complaint, family, leaves, parse_stat, parse_wrk, pss_mb
from peers import BODY, Server

START_LIMIT = 20.0  # seconds until the first right answer
STOP_LIMIT = 3.0  # seconds to stop when asked; then it is killed
_PAUSE = 0.02
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


@dataclass(frozen=True)
class Running:
    """A server that has answered right."""

    server: Server
    root: int
    port: int
    keeps_alive: bool


@contextmanager
def running(bench: Bench, server: Server, workload: str) -> Iterator[Running]:
    port = _free_port()
    log = bench.logs / f"{server.key}.log"
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                server.command_line(bench.environment, port, workload),
                cwd=bench.apps,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_pinned(bench.server_core),
            )
        except OSError as error:
            raise Failed(f"cannot be started: {error.strerror}") from error
    try:
        yield Running(server, process.pid, port, _await_answer(process, port, log))
    finally:
        _stop(process)


def load(bench: Bench, target: Running, connections: int, seconds: int) -> Round:
    """One round: a second to warm up, then the load, then the memory that the server holds after it."""
    _wrk(bench, target.port, connections, 1)
    before, began = _ticks(target.root), time.monotonic()
    told = _wrk(bench, target.port, connections, seconds)
    elapsed, ticks = time.monotonic() - began, _ticks(target.root) - before
    tree, worker = _memory(target)
    return Round(told, tree, worker, ticks / _TICK, elapsed)


def _wrk(bench: Bench, port: int, connections: int, seconds: int) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_pinned(bench.client_core),
    ) as process:
        try:
            time.sleep(seconds / 4)
            served = _newcomer_is_served(port, patience=seconds * 3 / 4)
            output, _ = process.communicate(timeout=seconds + START_LIMIT)
        except BaseException:
            process.kill()
            raise
    told = parse_wrk(output)
    return told if served else replace(told, errors=told.errors | {"newcomer starved": 1})


def _newcomer_is_served(port: int, patience: float) -> bool:
    """wrk says nothing of connections that never get an answer; a visitor who comes during the load finds out."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    """Waits for the first right answer; returns whether a second request went over the same connection."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"ended with status {process.returncode} while starting: {_said(log)}")
        with suppress(ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected):
            return _answers_right(port, max(deadline - time.monotonic(), _PAUSE))
        time.sleep(_PAUSE)
    raise Failed(f"gave no answer within {START_LIMIT:g} s: {_said(log)}")


def _answers_right(port: int, patience: float) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        _ask(connection)
        first = connection.sock.getsockname() if connection.sock else None
        _ask(connection)
        second = connection.sock.getsockname() if connection.sock else None
        return first is not None and first == second
    except TimeoutError as error:
        raise Failed(f"accepted a connection but gave no answer within {patience:.0f} s") from error
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/")
    response = connection.getresponse()
    body = response.read()
    if (response.status, body) != (200, BODY):
        raise Failed(f"answered {response.status} {body[:60]!r} instead of 200 {BODY!r}")


def _said(log: Path) -> str:
    return complaint(log.read_text(errors="replace"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asks the whole process group to stop, then kills whoever of the family is left."""
    members = family(_stats(), process.pid)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT
    while left := _left(process, members):
        if time.monotonic() > deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)
    process.wait()


def _left(process: subprocess.Popen[bytes], members: set[int]) -> set[int]:
    process.poll()
    stats = _stats()
    return family(stats, process.pid) | {pid for pid in members if pid in stats and stats[pid].state not in "ZX"}


def _memory(target: Running) -> tuple[float, float | None]:
    """The whole family's memory, and that of one worker if this server's workers can be told from the rest."""
    stats = _stats()
    sizes: dict[int, float] = {}
    for pid in family(stats, target.root):
        with suppress(OSError):
            sizes[pid] = pss_mb(Path(f"/proc/{pid}/smaps_rollup").read_text())
    workers = [sizes[pid] for pid in leaves(stats, sizes)]
    return sum(sizes.values()), sum(workers) / len(workers) if workers and target.server.leaf_is_worker else None


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


def _pinned(core: int) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, {core})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
