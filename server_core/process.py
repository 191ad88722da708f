"""What a process is to the operating system: its title, its user, its pid file, its orphans; not what it does."""

from __future__ import annotations

import errno
import gc
import grp
import os
import pwd
import resource
import signal
import stat
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from os import waitpid  # the system's own: a worker class (gevent) may replace it
from typing import Any

import setproctitle

from server_core.errors import ConfigError, StartError

#: how many more objects there may be before the garbage collector looks at them
NEW_OBJECTS = 10_000
_DEFAULT_THRESHOLDS = gc.get_threshold()
_PR_SET_CHILD_SUBREAPER = 36
_MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Account:
    """As whom the application runs; -1 and "" mean unchanged."""

    user: int = -1
    group: int = -1
    name: str = ""

    @property
    def called(self) -> str:
        """Its name, or its number if it has none."""
        return self.name or str(self.user)

    def may_write(self, status: os.stat_result) -> bool:
        """May it write a file of this owner, group and mode?  (Without a change of user nobody has to ask.)"""
        return self._may(status, stat.S_IWUSR)

    def may_enter(self, status: os.stat_result) -> bool:
        """May it use what is in such a directory?"""
        return self._may(status, stat.S_IXUSR)

    def _may(self, status: os.stat_result, owner_bit: int) -> bool:
        if self.user in (-1, 0):
            return True
        if status.st_uid == self.user:
            return bool(status.st_mode & owner_bit)
        groups = [self.group]
        if self.name and self.group >= 0:
            groups = os.getgrouplist(self.name, self.group)
        return bool(status.st_mode & (owner_bit >> 3 if status.st_gid in groups else owner_bit >> 6))


UNCHANGED = Account()


def find_account(user: str | int | None, group: str | int | None, origins: tuple[str, str]) -> Account:
    """Look up a user and a group, by name or number.

    Raises ConfigError for one that does not exist, StartError when this process may not become it.
    """
    uid = gid = -1
    name = ""
    if user is not None:
        try:
            entry = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
            uid, gid, name = entry.pw_uid, entry.pw_gid, entry.pw_name
        except KeyError:
            if isinstance(user, str):
                raise ConfigError(f"user: there is no user {user!r} on this machine ({origins[0]}).")
            if group is None:
                raise ConfigError(
                    f"user: user {user} ({origins[0]}) has no entry on this machine that would tell the group: "
                    "give group too."
                )
            uid = user
    if group is not None:
        try:
            gid = grp.getgrnam(group).gr_gid if isinstance(group, str) else group
        except KeyError:
            raise ConfigError(f"group: there is no group {group!r} on this machine ({origins[1]}).")
    if os.geteuid() != 0 and (uid not in (-1, os.geteuid()) or gid not in (-1, os.getegid(), *os.getgroups())):
        origin = origins[0] if user is not None else origins[1]
        raise StartError(
            f"no permission to become another user or group ({origin}): start the server as root, or leave it out"
        )
    return Account(uid, gid, name)


def drop_privileges(account: Account, umask: int | None) -> None:
    """Become ``account``, for good; called before any code of the application runs."""
    if umask is not None:
        os.umask(umask)
    if os.geteuid() == 0 and (account.user >= 0 or account.group >= 0):
        groups = [account.group] if account.group >= 0 else []
        if account.name and account.group >= 0:
            groups = os.getgrouplist(account.name, account.group)
        os.setgroups(groups)
    if account.group >= 0:
        os.setgid(account.group)
    if account.user >= 0:
        os.setuid(account.user)


def fill_standard_streams() -> None:
    """Make sure that descriptors 0 to 2 are open: else a socket could become the standard output of the workers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def memory_directory() -> str | None:
    """A directory whose files are in memory and not on a disk (Linux); None where there is none that we may use."""
    return _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None


def require_writable(directory: str) -> None:
    """Raise OSError when this process can make no files there."""
    if not stat.S_ISDIR(os.stat(directory).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def dead_children() -> Iterator[tuple[int, int]]:
    """Reap all children that have ended, however they came to be ours: process id and wait status of each."""
    while True:
        try:
            pid, status = waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


class Terminal:
    """The terminal that this process was started in, if any, as it is when this is made."""

    def __init__(self) -> None:
        # nohup says that its end does not matter.
        self._matters = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        self._modes: list[Any] | None = None
        with suppress(termios.error):
            self._modes = termios.tcgetattr(0)

    def is_closed(self) -> bool:
        """Has it been closed since?  The kernel takes it away before anybody gets a SIGHUP for it."""
        return self._matters and not _has_terminal()

    def restore(self) -> None:
        """Make it what it was, unless it belongs to somebody else now: who is killed at the prompt of a debugger
        leaves it without an echo."""
        with suppress(termios.error, OSError):
            if self._modes is not None and os.tcgetpgrp(0) == os.getpgrp():
                termios.tcsetattr(0, termios.TCSANOW, self._modes)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def tune_collector() -> None:
    """Suit the garbage collector to a process that has imported its application and is about to serve.

    What has been imported lives as long as the process.  Frozen, the collector does not look at it, so it does not
    write to its pages either, and they stay shared.  A request makes hundreds of objects that live as long as itself:
    the collector needs to look less often than by default (docs/discussion/performance.md has figures).
    """
    gc.collect()
    gc.freeze()
    if gc.get_threshold() == _DEFAULT_THRESHOLDS:
        gc.set_threshold(NEW_OBJECTS, *_DEFAULT_THRESHOLDS[1:])


def set_title(role: str, name: str) -> None:
    """What ps and top show: ``prefork-serve: worker 2, generation 1 [127.0.0.1:8000 mysite.wsgi:application]``."""
    setproctitle.setproctitle(f"prefork-serve: {role} [{name}]")


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies: workers of a dead forkserver stay in the family (Linux)."""
    if sys.platform == "linux":
        import ctypes  # a megabyte that only the arbiter needs

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def resident(pid: int) -> int | None:
    """How many bytes a process has in memory (RSS), those that it shares included; None where that is not told."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return None


def give_memory_back() -> None:
    """Return to the system what the C library keeps of the memory that has been freed (glibc; nothing elsewhere)."""
    import ctypes  # a megabyte that only a worker after an attack needs

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def raise_open_files(wanted: int) -> int:
    """Allow this process ``wanted`` open files, as far as the hard limit goes; returns how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):  # macOS has a further limit that it does not tell
            return soft
        return most
    return wanted if soft == resource.RLIM_INFINITY else soft


class PidFile:
    """The file that holds the arbiter's process number."""

    def __init__(self, path: str, origin: str) -> None:
        self._path = os.path.abspath(path)
        self._origin = origin

    def judge(self) -> None:
        """Raise StartError when there can be no such file; whether a live server has it is not asked."""
        try:
            if os.path.isdir(self._path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            require_writable(os.path.dirname(self._path))
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> StartError:
        return StartError(f"cannot write the pid file {self._path} ({self._origin}): {error.strerror}")

    def create(self) -> None:
        """Write the file in one step.  Raises StartError when another live server has it, or it cannot be written."""
        running = self._running()
        if running:
            raise StartError(
                f"the pid file {self._path} ({self._origin}) belongs to process {running}, which is running: "
                "stop that server, or give this one another pidfile"
            )
        temporary = f"{self._path}.{os.getpid()}"
        try:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            # The directory may be the account's own, which could put a link of that name there: follow none.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
                os.fchmod(descriptor, 0o644)
            os.rename(temporary, self._path)
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)
            raise self._refusal(error) from error

    def _running(self) -> int:
        """The live process that the file names, or 0."""
        try:
            pid = int(self._read() or 0)
            if pid in (0, os.getpid()):
                return 0
            os.kill(pid, 0)
        except PermissionError:
            return pid
        except (OSError, ValueError):
            return 0
        return pid

    def _read(self) -> str:
        with open(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK), encoding="ascii") as file:  # never waits for a pipe
            return file.read(100).strip()

    def remove(self) -> None:
        """Take the file away if it is still ours."""
        try:
            if self._read() == str(os.getpid()):
                os.unlink(self._path)
        except OSError:
            pass
