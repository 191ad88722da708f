"""What a forkserver is told when it starts, and how; both the arbiter and the forkserver know this and no more."""

from __future__ import annotations

import os
import pickle
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from server_core.config.bindings import Binding
from server_core.gateway.loader import AppSpec
from server_core.process import Account
from server_core.settings import Settings
from server_core.signals import held_back

_LENGTH = struct.Struct("!I")
_SLOT = struct.Struct("!i")


class Failure(NamedTuple):
    """Why the application could not be loaded: a sentence, and a traceback or ""."""

    sentence: str
    details: str


@dataclass(frozen=True)
class Boot:
    """All that a generation needs.  Descriptors are inherited under their own numbers.

    ``name`` is what the titles of its processes end with: where they listen, and the title.
    """

    generation: int
    name: str
    settings: Settings
    origins: Mapping[str, str]  # of the settings, by name
    spec: AppSpec
    account: Account
    listeners: tuple[tuple[int, Binding, int], ...]  # each with its redirect_port
    scoreboard: tuple[int, int]  # slots, descriptor
    lifeline: int
    reports: int
    pem: bytes = b""  # the certificate of our own with its key, if that is meant (certfile adhoc)
    shelf: int = -1  # where renewed certificates will lie, if there are any to renew
    failure: Failure | None = None  # of the application: then this generation stands in for it

    @property
    def title(self) -> str:
        """What people call this server."""
        return self.settings.process.proc_name or self.spec.title

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the forkserver has to inherit."""
        found = (*(number for number, _, _ in self.listeners), self.scoreboard[1], self.lifeline, self.reports)
        return found if self.shelf < 0 else (*found, self.shelf)


def interpreter_options() -> list[str]:
    """The -W and -X options that this interpreter was started with, for one that is to be like it."""
    options = [f"-W{option}" for option in sys.warnoptions]
    options += [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    return options


def fresh_interpreter(module: str, *arguments: str) -> list[str]:
    """A command line that calls ``main()`` of one of our modules in a clean interpreter.

    Unlike ``python -m`` it does not put the current directory on the path first: a project may well have a module
    called ``signal`` or ``logging``, and its application's path is the forkserver's business, later.
    """
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = (
        "import sys; sys.path[:] = [entry for entry in sys.path if entry]; "
        f"{root!r} in sys.path or sys.path.append({root!r}); "
        f"from {module} import main; main()"
    )
    return [sys.executable, *interpreter_options(), "-c", code, *arguments]


def spawn(command: list[str], descriptors: tuple[int, ...]) -> int:
    """Start a process that inherits these descriptors and the standard streams; returns its process id.

    It has to call ``signals.let_through``.
    """
    # The arbiter has one thread, so nobody else can fork while they are inheritable.
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    try:
        return os.posix_spawn(command[0], command, os.environ, setsigmask=held_back())
    finally:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)


def send_boot(channel: socket.socket, boot: Boot) -> None:
    """Arbiter's side: say everything at once."""
    data = pickle.dumps(boot)
    channel.sendall(_LENGTH.pack(len(data)) + data)


def receive_boot(channel: socket.socket) -> Boot:
    """Forkserver's side; raises EOFError when the arbiter is gone."""
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    boot = pickle.loads(_exactly(channel, length))
    assert isinstance(boot, Boot)
    return boot


def _exactly(channel: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = channel.recv(count - len(data))
        if not more:
            raise EOFError("the arbiter is gone")
        data += more
    return data


def send_fork(channel: socket.socket, slot: int, reports: int) -> None:
    """Ask for a worker in ``slot`` whose pipe to the arbiter is ``reports``; raises OSError for a dead forkserver."""
    socket.send_fds(channel, [_SLOT.pack(slot)], [reports])


def receive_fork(channel: socket.socket) -> tuple[int, int] | None:
    """The next request for a worker as (slot, descriptor), or None when there will be no more."""
    data, descriptors, _, _ = socket.recv_fds(channel, _SLOT.size, 1)
    if not data:
        return None
    return _SLOT.unpack(data)[0], descriptors[0]
