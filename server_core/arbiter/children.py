"""Processes as the arbiter sees them: a generation with its forkserver, and workers; not what to do with them."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass

from server_core.arbiter.boot import Boot, fresh_interpreter, send_boot, send_fork, spawn
from server_core.arbiter.plan import Phase, View
from server_core.arbiter.reports import Reports


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal a process of ours, if it still exists."""
    if pid > 0:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def exists(pid: int) -> bool:
    """Is there still a process of ours with this number (0 is none), be it a zombie?"""
    if pid == 0:
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def is_family(pid: int, parents: tuple[int, ...]) -> bool:
    """Is this process a child of one of ``parents``, or gone, as far as the system tells (Linux)?

    A child may be in the hands of an attacker: what it says must not make us signal a stranger's process.
    """
    if pid <= 1:
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1]) in parents
    except (OSError, ValueError, IndexError):
        return True  # it is gone, or this system has no such files


def describe_status(status: int | None) -> str:
    """A wait status in words: ``exited with status 1``, ``was killed by SIGKILL``."""
    if status is None:
        return "is gone"
    code = os.waitstatus_to_exitcode(status)
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
    """One worker.  ``pid`` is 0 until the forkserver has told it; times are monotonic seconds."""

    slot: int
    generation: int
    reports: Reports
    since: float  # when the present phase began
    phase: Phase = Phase.BOOTING
    pid: int = 0
    tired: bool = False
    killed: float = 0.0  # when it was first told to die
    why_killed: str = ""
    failure: tuple[str, str] | None = None  # what it reported when it could not boot: a sentence, a traceback

    @property
    def view(self) -> View:
        """What a decision needs to know."""
        return View(self.slot, self.generation, self.phase, self.tired)

    def leave(self, now: float, number: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to go."""
        if self.phase is not Phase.LEAVING:
            self.phase, self.since = Phase.LEAVING, now
        send_signal(self.pid, number)


class Generation:
    """One import of the application: its forkserver and what is known of it.

    Takes both ends of the pipe for reports.  Raises OSError when no process can be started.
    """

    def __init__(self, boot: Boot, reports_write: int, reports: Reports, now: float) -> None:
        self.number = boot.generation
        self.reports = reports
        self.started = now
        self.imported = False
        self.failure: tuple[str, str] | None = None
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
        read, write = os.pipe()
        try:
            send_fork(self._channel, slot, write)
        except OSError:
            os.close(read)
            return None
        finally:
            os.close(write)
        return Worker(slot, self.number, Reports(read), now)

    def close(self) -> None:
        """Ask for no more: the forkserver lets go of the listeners and ends after its last worker."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if not self.imported:  # it does not listen to us while it imports
            send_signal(self.pid, signal.SIGKILL)
