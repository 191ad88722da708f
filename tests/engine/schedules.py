"""Runs the engine's threads one step at a time, in an order that a seed decides, in a time that only the steps make.

The engine, its crew and its connections are the real ones.  What they wait for is played: sockets, readiness, locks
and clocks.  At each line of their files, and wherever somebody waits, another thread may go on instead; when nobody
can, time passes until the next one who sleeps wakes up.  If nobody sleeps either, a wake-up has been lost, and the
schedule fails and tells who waited where.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import getLogger
from types import FrameType
from typing import Any

import pytest

from server_core.engine import connection, crew, engine, outbox, outlet, places, threaded, watcher
from server_core.engine.connection import Connection
from server_core.engine.poller import READABLE, WRITABLE
from server_core.engine.site import Site
from server_core.gateway.environ import base_environ
from server_core.settings import Limits, Proxy, Timeouts

MODULES = (connection, crew, engine, outbox, outlet, places, threaded, watcher)
FILES = {module.__file__ for module in MODULES}
#: what a step takes, in seconds of the played time
STEP = 1e-6
#: how probable it is, at a line, that another thread goes on
SWITCH = 0.2
#: in place of what the engine waits for at most before it looks round: whoever needs that has lost a wake-up
NEVER = 1e6
#: no schedule is that long unless somebody turns round and round
MOST_STEPS = 200_000


class Stuck(AssertionError):
    """Nobody can go on."""


class Ended(BaseException):
    """Raised in the threads of a schedule that has failed."""


class Task:
    """One thread; ``ready`` says whether it could go on, ``wakes`` when it does so in any case."""

    def __init__(self, schedule: Schedule, name: str, run: Callable[[], None]) -> None:
        self.name = name
        self.ready: Callable[[], bool] = lambda: True
        self.wakes = float("inf")
        self.done = False
        self.turn = threading.Lock()
        self.turn.acquire()
        self._schedule = schedule
        self._run = run
        self.thread = threading.Thread(target=self._live, name=name, daemon=True)

    def _live(self) -> None:
        self.turn.acquire()
        sys.settrace(self._schedule.trace)
        try:
            self._run()
        except Ended:
            pass
        except BaseException as error:
            self._schedule.fail(error)
        finally:
            sys.settrace(None)
            self.done = True
            self._schedule.finished(self)


class Schedule:
    """One order of steps."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._steps = 0

    def spawn(self, name: str, run: Callable[[], None]) -> None:
        task = Task(self, name, run)
        self.tasks.append(task)
        task.thread.start()

    def run(self) -> None:
        """Until all threads have ended.  Raises Stuck, or what one of them has raised."""
        self._choose().turn.release()
        assert self._over.wait(60), "the schedule itself hangs"
        for task in self.tasks:
            task.thread.join(10)
        if self._failure is not None:
            raise self._failure

    # -- what the played things call

    def pause(self) -> None:
        """Another thread may go on now."""
        if self._failure is not None:
            raise Ended
        self._steps += 1
        self.now += STEP
        task = self.current
        assert task is not None
        try:
            following = self._choose()
        except Stuck as stuck:
            self.fail(stuck)
            raise Ended from None
        if following is not task:
            self.current = following
            following.turn.release()
            task.turn.acquire()
            if self._failure is not None:
                raise Ended

    def wait(self, ready: Callable[[], bool], seconds: float = float("inf")) -> bool:
        """Until ``ready()``, at most so long; was it?"""
        task = self.current
        assert task is not None
        task.ready, task.wakes = ready, self.now + seconds
        self.pause()
        task.ready, task.wakes = lambda: True, float("inf")
        return ready()

    def sleep(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def clock(self) -> float:
        return self.now

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._trace_line if frame.f_code.co_filename in FILES else None

    def _trace_line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and self.random.random() < SWITCH:
            self.pause()
        return self._trace_line

    def finished(self, task: Task) -> None:
        """The last thing that a thread does."""
        if all(each.done for each in self.tasks):
            self._over.set()
        elif self._failure is not None:
            self._wake_all()
        else:
            try:
                self._choose().turn.release()
            except Stuck as stuck:
                self.fail(stuck)
                self._wake_all()

    def fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error

    def _wake_all(self) -> None:
        """One after the other they see that all is over."""
        for task in self.tasks:
            if not task.done:
                task.turn.release()
                return

    def _choose(self) -> Task:
        living = [task for task in self.tasks if not task.done]
        able = [task for task in living if task.wakes <= self.now or task.ready()]
        if not able:
            self.now = min(task.wakes for task in living)
            able = [task for task in living if task.wakes <= self.now]
        if self.now == float("inf") or self._steps > MOST_STEPS:
            raise Stuck(self._who_waits_where(living))
        self.current = self.random.choice(able)
        return self.current

    def _who_waits_where(self, living: list[Task]) -> str:
        frames = sys._current_frames()
        told = [f"after {self._steps} steps nobody goes on:"]
        for task in living:
            stack = traceback.extract_stack(frames.get(task.thread.ident or 0))
            told += [f"-- {task.name}", *traceback.format_list([each for each in stack if each.filename in FILES])]
        return "\n".join(told)


class PlayedLock:
    """threading.Lock, by the schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        schedule = self._schedule
        if schedule.current is not None:
            schedule.pause()
            if self._held and blocking:
                seconds = timeout if timeout >= 0 else float("inf")
                if not schedule.wait(lambda: not self._held, seconds):
                    return False
        if self._held:
            return False
        self._held = True
        return True

    def release(self) -> None:
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class PlayedPoller:
    """Edge-triggered readiness of played sockets, and a pipe that is ready until it is read."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._ready: dict[int, int] = {}
        self._pipe = -1
        self.woken = False

    def poll(self, seconds: float, most: int) -> list[tuple[int, int]]:
        if seconds:
            self._schedule.wait(lambda: bool(self._ready or self.woken), seconds)
        else:
            self._schedule.pause()
        events = list(self._ready.items())
        self._schedule.random.shuffle(events)
        if self.woken:
            events.append((self._pipe, READABLE))
        if most > 0:
            events = events[:most]
        for descriptor, _ in events:
            self._ready.pop(descriptor, None)
        return events

    def tell(self, descriptor: int, mask: int) -> None:
        self._ready[descriptor] = self._ready.get(descriptor, 0) | mask

    def add_pipe(self, descriptor: int) -> None:
        self._pipe = descriptor

    def add_connection(self, descriptor: int) -> None:
        pass

    def remove(self, descriptor: int) -> None:
        pass


class PlayedSocket:
    """The server's end of a connection; ``room`` is what its buffer still takes."""

    numbers = iter(range(1_000_000, 1 << 30))

    def __init__(self, poller: PlayedPoller) -> None:
        self._poller = poller
        self._descriptor = next(self.numbers)
        self.inbox = b""
        self.answers = b""
        self.room = 1 << 20
        self.ended = False

    def fileno(self) -> int:
        return self._descriptor

    def recv(self, count: int, flags: int = 0) -> bytes:
        if not self.inbox and not self.ended:
            raise BlockingIOError
        data, self.inbox = self.inbox[:count], self.inbox[count:]
        return data

    def send(self, data: bytes) -> int:
        taken = min(len(data), self.room)
        if not taken:
            raise BlockingIOError
        self.answers += bytes(data[:taken])
        self.room -= taken
        return taken

    def sendmsg(self, parts: tuple[bytes, ...]) -> int:
        return self.send(b"".join(parts))

    def shutdown(self, how: int) -> None:
        pass

    def setsockopt(self, *words: object) -> None:
        pass

    def close(self) -> None:
        self.ended = True

    # -- the client's end

    def request(self, data: bytes) -> None:
        self.inbox += data
        self._poller.tell(self._descriptor, READABLE | WRITABLE)

    def make_room(self, count: int) -> None:
        self.room += count
        self._poller.tell(self._descriptor, WRITABLE)


class PlayedEngine(threaded.ThreadedEngine):
    """The engine, but for its pipe."""

    def _wake(self) -> None:
        self._poller.woken = True  # type: ignore[attr-defined]

    def _awake(self) -> None:
        self._poller.woken = False  # type: ignore[attr-defined]


class Play:
    """An engine with ``threads`` threads and a watcher, whose clients are threads of the schedule too."""

    def __init__(self, seed: int, threads: int, **timeouts: float) -> None:
        self.schedule = Schedule(seed)
        self.poller = PlayedPoller(self.schedule)
        self.waits: list[tuple[str, float]] = []  # path -> how long its answer took
        self.inside = self.most_inside = 0
        self.seconds_inside = 0.0
        self.most_for_others = 0.0  # the longest that a client waited beyond what its own requests took
        self._clients = 0
        with self._played():
            self.engine = PlayedEngine(
                threads, self._application, [], Limits(), Timeouts(**timeouts), Proxy(), getLogger("schedules")
            )
        self.engine._pause = self.engine._tick_seconds = NEVER
        self._threads = threads

    @contextmanager
    def _played(self) -> Iterator[None]:
        schedule = self.schedule
        played = {
            "Lock": lambda: PlayedLock(schedule),
            "monotonic": schedule.clock,
            "perf_counter": schedule.clock,
            "time": schedule.clock,
            "sleep": schedule.sleep,
            "Poller": lambda: self.poller,
            "get_ident": lambda: id(schedule.current),
            "queued": lambda sock: 0,
        }
        with pytest.MonkeyPatch.context() as patch:
            for module in MODULES:
                for name, value in played.items():
                    if hasattr(module, name):
                        patch.setattr(module, name, value)
            patch.setattr(watcher, "BEAT_SECONDS", NEVER)
            yield

    def _application(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """``/MICROSECONDS``: sleeps so long."""
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        seconds = int(environ["PATH_INFO"].strip("/")) * 1e-6
        self.seconds_inside += seconds
        self.schedule.sleep(seconds)
        self.inside -= 1
        body = environ["PATH_INFO"].encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def client(self, requests: list[list[int]], pauses: list[float], room: int = 1 << 20) -> None:
        """A client that sends each list of requests at once, in two pieces, and waits for all of their answers."""
        self._clients += 1
        sock = PlayedSocket(self.poller)
        sock.room = room

        def live() -> None:
            site = Site(sock, base_environ("x", "80", "x", multithread=True, multiprocess=False, errors=sys.stderr))  # type: ignore[arg-type]
            client = Connection(self.engine, sock, "192.0.2.1", "4711", site, self.schedule.now)  # type: ignore[arg-type]
            self.engine.connections[client.descriptor] = client
            for paths, pause in zip(requests, pauses, strict=True):
                self.schedule.sleep(pause)
                self._ask(sock, paths)
            self._clients -= 1
            if not self._clients:
                self.engine.stop()

        self.schedule.spawn(f"client {self._clients}", live)

    def _ask(self, sock: PlayedSocket, paths: list[int]) -> None:
        data = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in paths)
        cut = self.schedule.random.randrange(len(data))
        began = self.schedule.now
        sock.request(data[:cut])
        self.schedule.pause()
        sock.request(data[cut:])
        own = 0.0
        for path in paths:
            end = b"\r\n\r\n/%d" % path
            while end not in sock.answers:
                self.schedule.wait(lambda end=end: end in sock.answers or not sock.room)
                if not sock.room:
                    sock.make_room(50)
            own += path * 1e-6
            self.waits.append((f"/{path}", self.schedule.now - began))
            self.most_for_others = max(self.most_for_others, self.schedule.now - began - own)
            sock.answers = sock.answers.partition(end)[2]

    def run(self) -> None:
        """Until all clients have been answered, and the engine's threads have ended."""
        with self._played():
            for number in range(self._threads):
                self.schedule.spawn(f"thread {number}", self.engine.serve)
            self.schedule.spawn("watcher", self.engine.watcher.watch)
            try:
                self.schedule.run()
            finally:
                os.close(self.engine._wake_read)
                os.close(self.engine._wake_write)
        assert self.schedule.now < NEVER, "somebody was waiting for something else than what woke him up"
