"""Processes as the arbiter sees them: a generation with its forkserver, and workers; not what to do with them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from random import random

from server_core.arbiter.boot import Boot, Failure, fresh_interpreter, send_boot, send_fork, spawn
from server_core.arbiter.plan import Phase, View
from server_core.arbiter.reports import Reports

# Instead of a handle: there is no such process, or the system has no handles.
NO_PROCESS, ONLY_A_NUMBER = -1, -2


class Grandchild:
    """A process ``pid`` that somebody else forks and reaps: its number may be a stranger's as soon as it has died.

    And who tells of it may be in the hands of an attacker: that must not make us signal a process that is not a child
    of one of ``parents``.  Hence the handle (pidfd), which stands for one process and never for its successor.
    """

    def __init__(self, pid: int, parents: tuple[int, ...]) -> None:
        self.pid = pid
        self._handle = NO_PROCESS
        if pid <= 1:
            return
        try:
            self._handle = os.pidfd_open(pid) if sys.platform == "linux" else ONLY_A_NUMBER
        except ProcessLookupError:
            return
        except OSError:  # a kernel before 5.3, or a sandbox
            self._handle = ONLY_A_NUMBER
        if _parent(pid) not in (*parents, None) or not self.exists():
            self.close()

    def exists(self) -> bool:
        """Is it there, be it as a zombie?"""
        return self._signal(0)

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it still exists."""
        self._signal(number)

    def _signal(self, number: int) -> bool:
        if self._handle == NO_PROCESS:
            return False
        try:
            if sys.platform == "linux" and self._handle != ONLY_A_NUMBER:
                signal.pidfd_send_signal(self._handle, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # it has become somebody else by a set-user-ID program
            pass
        return True

    def close(self) -> None:
        """Let go of it."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = NO_PROCESS


def _parent(pid: int) -> int | None:
    """Whose child it is; None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except FileNotFoundError:
        return -1 if os.path.exists("/proc/self/stat") else None
    except (OSError, ValueError, IndexError):
        return None


def is_reaped(pid: int) -> bool:
    """Is there no child of ours with this number any more?  One that has ended is reaped."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def describe_status(status: int | None) -> str:
    """A wait status in words: ``exited with status 1``, ``was killed by SIGKILL``."""
    if status is None:
        return "is gone"
    try:
        code = os.waitstatus_to_exitcode(status)
    except (ValueError, OverflowError):  # a child may say what it likes
        return f"ended with wait status {status}"
    if code >= 0:
        return f"exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", perhaps by the kernel for want of memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


@dataclass
class Worker:
    """One worker.  ``process`` is None until the forkserver has told of it; times are monotonic seconds."""

    slot: int
    generation: int
    reports: Reports
    since: float  # when the present phase began
    phase: Phase = Phase.BOOTING
    process: Grandchild | None = None
    tired: bool = False
    chance: float = field(default_factory=random)  # from 0 to 1, of its own: not all become old at once
    killed: float = 0.0  # when it was first told to die
    why_killed: str = ""
    failure: Failure | None = None  # what it reported when it could not boot
    heard: tuple[float, float] = (0.0, 0.0)  # its last sign of life; how long the arbiter had been asleep by then

    @property
    def pid(self) -> int:
        """Its number, 0 as long as that is not known."""
        return self.process.pid if self.process is not None else 0

    @property
    def view(self) -> View:
        """What a decision needs to know."""
        return View(self.slot, self.generation, self.phase, self.tired)

    def silence(self, beat: float, now: float, asleep_before: float, asleep: float) -> float:
        """Seconds since its last ``beat``, without those in which the arbiter slept: ``asleep`` of them so far, and
        ``asleep_before`` until it last looked: a new beat may be from before a sleep, and may be from after it."""
        if self.heard[0] != beat:
            self.heard = (beat, asleep_before)
        return now - beat - (asleep - self.heard[1])

    def life(self, now: float, answered: int) -> str:
        """What is said of it when it is lost: " It had served for ...", or "" if it never did; its account of what it
        has ``answered`` is from its last sign of life."""
        if self.phase is not Phase.READY:
            return ""
        return f" It had served for {now - self.since:.0f}s and answered {answered} requests or a few more."

    def leave(self, now: float, number: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to go."""
        if self.phase is not Phase.LEAVING:
            self.phase, self.since = Phase.LEAVING, now
        self.send(number)

    def send(self, number: signal.Signals) -> None:
        """Signal its process, if there is one."""
        if self.process is not None:
            self.process.send(number)

    def exists(self) -> bool:
        """Is its process there, be it as a zombie?"""
        return self.process is not None and self.process.exists()

    def close(self) -> None:
        """It is dead: let go of its pipe and its process."""
        self.reports.close()
        if self.process is not None:
            self.process.close()


class Generation:
    """One import of the application: its forkserver and what is known of it.

    Takes both ends of the pipe for reports.  Raises OSError when no process can be started.
    """

    def __init__(self, boot: Boot, reports_write: int, reports: Reports, now: float) -> None:
        self.number = boot.generation
        self.is_stand_in = boot.failure is not None
        self.reports = reports
        self.started = now
        self.imported = False
        self.told_long = False  # that its import takes long
        self.failure: Failure | None = None
        self.killed = 0.0
        self.why_killed = ""
        self.pid = 0
        self._channel: socket.socket | None = None
        try:
            self._channel, theirs = socket.socketpair()
            with theirs:
                command = fresh_interpreter("server_core.arbiter.forkserver", str(theirs.fileno()))
                self.pid = spawn(command, (*boot.descriptors, theirs.fileno()))
        except OSError:
            self.close()
            reports.close()
            raise
        finally:
            os.close(reports_write)
        try:
            send_boot(self._channel, boot)
        except OSError:
            pass  # it died at once: its end will be reaped and told

    @property
    def open(self) -> bool:
        """Can workers be asked for?"""
        return self._channel is not None and self.pid != 0

    def fork(self, slot: int, now: float) -> Worker | None:
        """Ask for a worker; None when the forkserver is dead already.  Raises OSError for want of descriptors."""
        if self._channel is None:
            return None
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                send_fork(self._channel, slot, theirs.fileno())
            except OSError:
                ours.close()
                return None
        return Worker(slot, self.number, Reports(ours.detach()), now)

    def close(self) -> None:
        """Ask for no more: the forkserver lets go of the listeners and ends after its last worker."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if not self.imported:  # it does not listen to us while it imports
            self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Signal the forkserver, if it still exists: ours and not reaped, so the number is not another's."""
        if self.pid > 0:
            try:
                os.kill(self.pid, number)
            except (ProcessLookupError, PermissionError):
                pass
