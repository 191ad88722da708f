"""Knows what is measured without load, or counted under it: memory, start and reload of the shop, idle connections,
and the system calls of a worker.

Each measurement yields its facts one by one; a server that fails has a fact that says so.
"""

from __future__ import annotations

import http.client
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from environment import Environment, tell
from figures import PER_REQUEST, Fact, complaint, established, parse_strace
from floors import IDLE, PRELOADED, SHOP_IDLE, SHOP_MEMORY, SHOP_RELOAD, SHOP_START
from peers import GRANIAN, GTHREAD, ONE_FLEET, SYNC, WORKLOADS, Server, Workload
from processes import Bench, Failed, Right, Running, load, members, running, tree_mb, workers_of

PROJECT = Path(__file__).resolve().parents[2] / "example_projects" / "django_shop"
SHOP = Workload("shop", "the example project, four workers", "told_shop", workers=4)
SHOP_RIGHT = Right("/", b"Fountain pen")
SHOP_SERVERS = (SYNC, "gunicorn gthread", GRANIAN, "uwsgi")
RELOADED = (SYNC, "gunicorn gthread")
IDLE_SERVERS = (SYNC, GTHREAD, GRANIAN, "nginx")  # those that keep an idle connection, and so many of them
IDLE_WANTED = 10_000
IDLE_LIMIT = 3.0  # seconds for the answer that each of them has had
SPARE_FILES = 300  # what a process has open beside those connections
VISITS = 64  # so that each worker has answered
REST = 1.0  # seconds in which a server comes to rest
RELOAD_LIMIT = 30.0
CALLS_SERVERS = (SYNC, GTHREAD)
ALL = "all of them"


@dataclass(frozen=True)
class Setting:
    """What all measurements need."""

    bench: Bench
    environment: Environment
    servers: tuple[Server, ...]
    rounds: int

    def fact(self, name: str, unit: str, server: Server) -> Fact:
        version = self.environment.versions.get(server.package, "")
        return Fact(name, unit, server.name, version, failure=self.environment.failures.get(server.package, ""))

    def named(self, names: Iterable[str]) -> list[Server]:
        return [server for server in self.servers if server.name in names]


def measure(setting: Setting) -> list[Fact]:
    return [*_shop(setting, _prepare_shop(setting.bench)), *_idle(setting), *_calls(setting)]


# the shop


def _prepare_shop(bench: Bench) -> str:
    """A copy with goods in it; empty if it went well."""
    copy = bench.files / "shop"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("*.sqlite3", "__pycache__", "media"))
    for words in (["migrate", "--verbosity", "0"], ["seed"]):
        done = subprocess.run(
            [str(bench.environment / "bin" / "python"), "manage.py", *words],
            cwd=copy, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return f"the shop has no goods: {complaint(done.stdout + done.stderr)}"
    return ""


def _shop(setting: Setting, problem: str) -> Iterator[Fact]:
    servers = setting.named(SHOP_SERVERS)
    for server in setting.named(["gunicorn gthread"]):
        servers.append(replace(server, name=PRELOADED, command=server.command + " --preload"))
    for server in servers:
        memory, start = setting.fact(SHOP_MEMORY, "MB", server), setting.fact(SHOP_START, "s", server)
        again, idle = setting.fact(SHOP_RELOAD, "s", server), setting.fact(SHOP_IDLE, "MB", server)
        for fact in (idle, memory, start, again):
            fact.failure = fact.failure or problem
        for number in range(1, setting.rounds + 1):
            if memory.failure:
                break
            tell(f"shop, {server.name}, round {number} of {setting.rounds}")
            try:
                with running(setting.bench, server, SHOP.module, SHOP, unasked=True) as target:
                    idle.values.append(tree_mb(target.root))
                with running(setting.bench, server, SHOP.module, SHOP, SHOP_RIGHT) as target:
                    start.values.append(target.seconds)
                    for _ in range(VISITS):
                        _visit(target.port)
                    time.sleep(REST)
                    memory.values.append(tree_mb(target.root))
                    if server.name in RELOADED:
                        again.values.append(_reload(target))
            except (Failed, OSError) as failure:
                idle.failure = memory.failure = start.failure = again.failure = str(failure)
        yield idle
        yield memory
        yield start
        if server.name in RELOADED:
            yield again


def _visit(port: int) -> int | None:
    """Asks on a connection of its own; returns which process answered, or None if it was not a right answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with suppress(OSError, http.client.HTTPException, ValueError):
        connection.request("GET", SHOP_RIGHT.path, headers={"Connection": "close"})
        response = connection.getresponse()
        if response.status == 200 and SHOP_RIGHT.text in response.read():
            connection.close()
            return int(response.getheader("X-Process", ""))
    connection.close()
    return None


def _reload(target: Running) -> float:
    """Seconds from the signal to the first answer after which no worker of before answered any more."""
    old = members(target.root) - {target.root}
    began = time.monotonic()
    os.kill(target.root, signal.SIGHUP)
    only_new: float | None = None
    while time.monotonic() - began < RELOAD_LIMIT:
        answered = _visit(target.port)
        if answered in old:
            only_new = None
        elif answered is not None and only_new is None:
            only_new = time.monotonic() - began
        # Whoever is no worker of before may stay: one that only starts workers, say.
        if only_new is not None and not old & workers_of(target.root):
            return only_new
    raise Failed(f"had not replaced its workers {RELOAD_LIMIT:g} s after the signal")


# idle connections


def raise_file_limit() -> int:
    """As many open files as the system allows, for this process and the servers that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE_WANTED + SPARE_FILES
    best = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < best:
        resource.setrlimit(resource.RLIMIT_NOFILE, (best, hard))
    return max(soft, best)


def _idle(setting: Setting) -> Iterator[Fact]:
    wanted = min(IDLE_WANTED, raise_file_limit() - SPARE_FILES)
    for server in setting.named(IDLE_SERVERS):
        fact = setting.fact(IDLE, "KiB", server)
        if not fact.failure:
            tell(f"{wanted:,} idle connections, {server.name}")
            try:
                with running(setting.bench, server, "plaintext") as target:
                    held, grown = _hold(target, wanted)
                fact.values.append(grown * 1024 / held)
                fact.remark = "" if held >= IDLE_WANTED else f"with {held:,} idle connections: no more were possible"
            except (Failed, OSError) as failure:
                fact.failure = str(failure)
        yield fact


def _hold(target: Running, wanted: int) -> tuple[int, float]:
    """Opens connections on which one request was answered, up to the first on which none is; how many are held then,
    and the memory that they cost."""
    before = tree_mb(target.root)
    with ExitStack() as stack:
        for number in range(wanted):
            # Several addresses, as there are: one has not enough ports for more than a few of such runs.
            source = (f"127.0.0.{2 + number % 10}", 0)
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", target.port), IDLE_LIMIT, source))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            try:
                answer = sock.recv(4096)
            except OSError:
                sock.close()
                break
            if not answer.startswith(b"HTTP/1.1 200"):
                raise Failed(f"gave no right answer on connection {number + 1:,}")
        time.sleep(REST)
        held = len(established(Path("/proc/net/tcp").read_text(), target.port))
        if not held:
            raise Failed("holds none of the idle connections")
        return held, tree_mb(target.root) - before


# system calls


def _calls(setting: Setting) -> Iterator[Fact]:
    """How often a worker calls the system for one request.

    Counting slows it down, so more requests may be waiting when it looks than otherwise.
    """
    if not shutil.which("strace"):
        tell("system calls are left out: strace is not installed")
        return
    for server in setting.named(CALLS_SERVERS):
        every = setting.fact(ALL, PER_REQUEST, server)
        if not every.failure:
            tell(f"system calls, {server.name}")
            try:
                counted, requests = _count(setting.bench, server)
            except (Failed, ValueError, OSError) as failure:
                every.failure = str(failure)
            else:
                for name, calls in sorted(counted.items(), key=lambda each: -each[1]):
                    if calls / requests >= 0.001:
                        yield replace(every, name=name, values=[calls / requests])
                every.values.append(sum(counted.values()) / requests)
        yield every


def _count(bench: Bench, server: Server) -> tuple[dict[str, int], int]:
    told = bench.files / "strace"
    given = WORKLOADS["plaintext"]
    with running(bench, server, given.module) as target:
        workers = workers_of(target.root)
        if len(workers) != 1:
            raise Failed(f"has {len(workers)} workers instead of one")
        command = ["strace", "-f", "-c", "-o", str(told), "-p", str(workers.pop())]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            try:
                assert tracer.stderr is not None
                if "attached" not in (said := tracer.stderr.readline()):
                    raise Failed(f"cannot be traced: {complaint(said)}")
                round_ = load(bench, target, given, ONE_FLEET, 1, warm_up=0)
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.communicate(timeout=10)
    if round_.load.errors:
        raise Failed("made errors while its system calls were counted")
    return parse_strace(told.read_text()), round_.load.requests
