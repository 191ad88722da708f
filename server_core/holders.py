"""Finds out which process listens on an address that is wanted (Linux; elsewhere nobody is found); stops nobody.

The kernel's tables of sockets give the inode of the one that listens there, and the links in /proc/PID/fd whose it is.
What a process says of itself is shown with care: its arguments may hold secrets, and anything else.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

_LISTEN = "0A"  # the state in /proc/net/tcp
_ACCEPTS_CONNECTIONS = 1 << 16  # the flag in /proc/net/unix
#: how much of a command line or title is shown
SHOWN_CHARACTERS = 60
_SHOWN_ARGUMENTS = 3
_PYTHON = re.compile(r"python[0-9.]*")
_PYTHON_SWITCH = re.compile(r"-[bBdEiIOPqsSuvx]+")  # those that take no argument


class Holder(NamedTuple):
    """Who listens: ``pid`` is 0 when it cannot be known, ``words`` say it to a person."""

    pid: int
    words: str


def holder_of_port(host: str, port: int) -> Holder | None:
    """Who keeps us from listening on this port of ``host``, an IP address; None when nobody is found.

    Whoever listens on all addresses of the machine has that port of each, and the other way round.
    """
    wanted = host.partition("%")[0]
    # Those of IPv4 come first.  One of IPv6 may be in the way of IPv4 too, but that is less likely.
    for entry in _listening_ports():
        if entry.port == port and _collide(wanted, entry.host):
            return _holder(entry.inode, entry.user)
    return None


def holder_of_path(path: str) -> Holder | None:
    """The same for a unix socket: the path of its file, or its name after an ``@``."""
    for inode, name in _listening_names():
        if path.startswith("@") or name.startswith("@"):
            if path == name:
                return _holder(inode, None)
        elif os.path.basename(name) == os.path.basename(path):
            holder = _holder(inode, None)
            # A relative path is known as it was written by the process that bound it.
            where = f"/proc/{holder.pid}/cwd" if holder.pid else "."
            with suppress(OSError):
                if os.path.samefile(os.path.join(where, name), path):
                    return holder
    return None


# --- the kernel's tables


class _Entry(NamedTuple):
    host: str
    port: int
    user: int
    inode: int


def _listening_ports() -> Iterator[_Entry]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _lines(table):
            fields = line.split()
            if fields[3] == _LISTEN:
                address, _, port = fields[1].partition(":")
                yield _Entry(_host(address), int(port, 16), int(fields[7]), int(fields[9]))


def _listening_names() -> Iterator[tuple[int, str]]:
    for line in _lines("/proc/net/unix"):
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and int(fields[3], 16) & _ACCEPTS_CONNECTIONS:
            yield int(fields[6]), fields[7]


def _lines(table: str) -> list[str]:
    """The table's lines without its heading; none where there is no such table."""
    try:
        with open(table, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return [line.removesuffix("\n") for line in file][1:]
    except OSError:
        return []


def _host(written: str) -> str:
    """An address as the kernel writes it: numbers of 32 bits in the machine's own order."""
    words = [int(written[place : place + 8], 16) for place in range(0, len(written), 8)]
    return socket.inet_ntop(
        socket.AF_INET if len(words) == 1 else socket.AF_INET6, struct.pack(f"={len(words)}I", *words)
    )


def _collide(wanted: str, taken: str) -> bool:
    taken = taken.removeprefix("::ffff:")  # IPv4 on a socket of IPv6
    if (":" in wanted) == (":" in taken):
        return wanted == taken or not {wanted, taken}.isdisjoint(("::", "0.0.0.0"))
    return taken == "::"  # which often takes connections of IPv4 too; ours of IPv6 never do


# --- processes


def _holder(inode: int, user: int | None) -> Holder:
    pids = [pid for pid in _all_processes() if _has_open(pid, f"socket:[{inode}]")]
    if os.getpid() in pids:
        return Holder(os.getpid(), "this process itself")
    if pids:
        # Of a family of processes that share it, the first parent.
        pid = min(pids, key=lambda pid: (_parent(pid) in pids, pid))
        return Holder(pid, _introduce(pid))
    ours = os.geteuid()
    if user == ours or (user is None and ours == 0):  # in another container, for example
        return Holder(0, "a process that cannot be seen from here")
    return Holder(0, "a process of another user" if user is None else f"a process of {_user(user)}")


def _all_processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _has_open(pid: int, target: str) -> bool:
    with suppress(OSError):  # it is gone, or belongs to somebody else
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(entry.path) == target:
                    return True
    return False


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _read(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return os.fsdecode(file.read())
    except OSError:
        return ""


def _introduce(pid: int) -> str:
    title = _read(pid, "cmdline").rstrip("\0 ")
    # The directory in /proc may be root's though the process is not.
    ids = re.search(r"^Uid:\t[0-9]+\t([0-9]+)", _read(pid, "status"), re.MULTILINE)
    owner = f", {_user(int(ids[1]))}" if ids and int(ids[1]) != os.geteuid() else ""
    if title.startswith("prefork-serve: "):
        return f'another prefork-serve, "{careful(title, 2 * SHOWN_CHARACTERS)}" (pid {pid}{owner}),'
    return f"{careful(command(title) or _read(pid, 'comm').strip())} (pid {pid}{owner})"


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user number {number}"


def command(line: str) -> str:
    """What of a command line (arguments with NUL between them, or a title) can be shown: programs and their first
    arguments up to the first option, files without their directories.

    >>> command("/usr/bin/python3\\0-u\\0/srv/manage.py\\0runserver\\0--token=1234")
    'python3 manage.py runserver'
    """
    words = line.split("\0") if "\0" in line else line.split()
    program, *arguments = [os.path.basename(word) or word for word in words] or [""]
    if _PYTHON.fullmatch(program):
        while arguments and _PYTHON_SWITCH.fullmatch(arguments[0]):
            del arguments[0]
        if arguments[:1] == ["-m"]:
            program = f"{program} -m"
            del arguments[0]
    shown = [program]
    for argument in arguments[:_SHOWN_ARGUMENTS]:
        if argument.startswith("-") or "=" in argument or "@" in argument:  # a@b may be a password and a host
            break
        shown.append(argument)
    return " ".join(shown)


def careful(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """Text of unknown origin for a terminal or a log: nothing in it does more than be read, and it is short."""
    text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return text if len(text) <= most else f"{text[: most - 3]}..."
