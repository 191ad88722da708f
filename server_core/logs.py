"""Opens the places where messages go: standard streams, files, syslog.  What is said is known by those who say it."""

from __future__ import annotations

import errno
import fcntl
import logging
import logging.handlers
import os
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

from server_core.console import local_time
from server_core.errors import ConfigError, StartError
from server_core.process import UNCHANGED, Account, require_writable
from server_core.settings import Logs

_FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
#: names of descriptors that we have already
STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2, "/proc/self/fd/1": 1, "/proc/self/fd/2": 2}
#: how long lines are dropped, in seconds, before a syslog that could not be reached is looked for again
SYSLOG_PAUSE = 1.0
_DATE_FORMAT = "%Y-%m-%d %H:%M:%S %z"


class _Formatter(logging.Formatter):
    """Like its parent, with the times of a time zone; the application may have changed that of the process."""

    def __init__(self, zone: tzinfo | None) -> None:
        super().__init__(_FORMAT)
        self._zone = zone

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return local_time(record.created, self._zone, _DATE_FORMAT)


def zone_of(logs: Logs, origin: str = "") -> tzinfo | None:
    """The time zone of both logs, None for that of the system.  Raises ConfigError for one that does not exist."""
    if logs.log_timezone is None:
        return None
    from zoneinfo import ZoneInfo  # not before it is needed

    try:
        return ZoneInfo(logs.log_timezone)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ConfigError(
            f"log_timezone: there is no time zone {logs.log_timezone!r} ({origin}) on this machine: write "
            "Europe/Berlin or UTC; time zones come with the system's package tzdata, or with pip install tzdata."
        )


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # which has no parameter before Python 3.11


class _ErrorFile(_StreamHandler):
    """An error log in a file, for ``account`` to write to as well.  Raises OSError."""

    def __init__(self, path: str, account: Account) -> None:
        self.path = os.path.abspath(path)
        self._account = account
        super().__init__(open_text(self.path, account))

    def reopen(self) -> None:
        """Go on in the file that has this name now.  Raises OSError, and then nothing has changed."""
        stream = open_text(self.path, self._account)
        if not stream_of(self.path) and not self._account.may_write(os.fstat(stream.fileno())):
            stream.close()  # a link of that account's to a file that it may not write
            raise PermissionError(errno.EACCES, f"it does not belong to {self._account.called} (user)")
        before = self.setStream(stream)
        if before is not None:
            before.close()


def error_log(logs: Logs, title: str, account: Account = UNCHANGED) -> logging.Logger:
    """The log that the server writes to, open; if there is no such file it is made for ``account``.

    It stands outside logging's tree of loggers: a project's logging configuration may disable all loggers that exist
    when it is read, and the server must still be heard.  Raises OSError.
    """
    log = logging.Logger("prefork-serve", logs.loglevel.upper())
    handler: logging.Handler
    handler = logging.StreamHandler(sys.stderr) if logs.errorlog == "-" else _ErrorFile(logs.errorlog, account)
    handler.setFormatter(_Formatter(zone_of(logs)))
    log.addHandler(handler)
    if logs.syslog:
        log.addHandler(syslog_handler(logs, title))
    return log


def reopen(log: logging.Logger) -> None:
    """Go on in the file that has the log's name now, for the other one may have been renamed; if it cannot be opened,
    go on as before and say so there."""
    for handler in log.handlers:
        if isinstance(handler, _ErrorFile):
            try:
                handler.reopen()
            except OSError as error:
                words = "Cannot open the log %s anew (errorlog): %s. What was open before is written on."
                log.error(words, handler.path, error.strerror)


#: loggers that a project may configure (LOGGING in Django, dictConfig): what workers say goes to them then
PROJECT_LOGGER, PROJECT_ACCESS_LOGGER = "prefork_serve", "prefork_serve.access"


def project_handler(name: str) -> logging.Handler | None:
    """What hands our records to the project's logger of that name; None unless the project has configured it."""
    found = logging.root.manager.loggerDict.get(name)
    if not isinstance(found, logging.Logger) or not (found.handlers or found.level or not found.propagate):
        return None
    return _ForProject(found)


class _ForProject(logging.Handler):
    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if self._logger.isEnabledFor(record.levelno):
            record.name = self._logger.name
            self._logger.handle(record)


def join_project(log: logging.Logger) -> None:
    """Let the project's logger write what ``log`` says from now on, if the project has configured one."""
    handler = project_handler(PROJECT_LOGGER)
    if handler is not None:
        log.handlers[:] = [handler]


class _Sender(logging.handlers.SysLogHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        raise  # what emit() has caught


class _Syslog(logging.Handler):
    """Sends to syslog.  A line that it does not take is dropped, and the next one goes by a new connection."""

    def __init__(self, logs: Logs, title: str) -> None:
        super().__init__()
        self._logs = logs
        prefix = (logs.syslog_prefix or title).replace("%", "%%")
        self._form = logging.Formatter(f"{prefix}[%(process)d]: %(message)s")
        self._sender: _Sender | None = None
        self._pause_ends = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if self._sender is None and monotonic() < self._pause_ends:
            return
        try:
            if self._sender is None:
                # Until it is there: to look for a host that is away may take long.
                self._pause_ends = monotonic() + SYSLOG_PAUSE
                self._sender = _Sender(*_syslog_address(self._logs))
                self._sender.setFormatter(self._form)
                self._pause_ends = 0.0
            self._sender.emit(record)
        except (OSError, ValueError):  # the latter for what is no text in UTF-8
            self._hang_up()

    def _hang_up(self) -> None:
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def close(self) -> None:
        self._hang_up()
        super().close()


def syslog_handler(logs: Logs, title: str) -> logging.Handler:
    """A handler that sends to syslog, whether it can be reached at the moment or not."""
    return _Syslog(logs, title)


def require_syslog(logs: Logs, origins: Mapping[str, str]) -> None:
    """Raise StartError when syslog is wanted and cannot be reached.  (Of one at a UDP port nobody can know.)"""
    if not logs.syslog:
        return
    address, facility, kind = _syslog_address(logs)
    try:
        if isinstance(address, str):  # in this case the handler says nothing
            with socket.socket(socket.AF_UNIX, kind) as probe:
                probe.connect(address)
        else:
            _Sender(address, facility, kind).close()
    except OSError as error:
        where = f"{logs.syslog_addr} (syslog_addr: {origins['syslog_addr']})"
        raise StartError(f"cannot reach syslog at {where}: {error.strerror or error}")


def _syslog_address(logs: Logs) -> tuple[str | tuple[str, int], str, socket.SocketKind]:
    """What SysLogHandler is made of: the address, the facility, the kind of socket."""
    url = urlsplit(logs.syslog_addr)
    kind = socket.SOCK_STREAM if url.scheme == "tcp" or url.fragment == "stream" else socket.SOCK_DGRAM
    address = url.path if url.scheme == "unix" else (url.hostname or "localhost", url.port or 514)
    return address, logs.syslog_facility, kind


def stream_of(path: str) -> int:
    """Which of our standard streams a path, or a link such as images of containers have, means; 0 for none.

    Opened anew, a pipe would ask whether this account may.
    """
    return STREAMS.get(os.readlink(path) if os.path.islink(path) and path not in STREAMS else path, 0)


def open_log_file(path: str, user: int = -1, group: int = -1) -> int:
    """Open a log for appending; returns its descriptor.  One that does not exist is made, for ``user`` and ``group``.

    An existing file keeps its owner, and root follows no link of somebody else's: a log may be in a directory where the
    account that serves, or whoever has taken it over, makes links to files of others.  Raises OSError.
    """
    stream = stream_of(path)
    if stream:
        return fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 3)
    # Not blocking for the moment: a pipe without a reader is a mistake to be told, not to be waited for.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o640)
        if os.geteuid() == 0 and (user, group) != (-1, -1):
            os.fchown(descriptor, user, group)
    except FileExistsError:
        descriptor = _open_existing(path, flags)
    os.set_blocking(descriptor, True)
    return descriptor


def _open_existing(path: str, flags: int) -> int:
    if os.geteuid() != 0:
        return _open_for_a_reader(path, flags)
    try:
        descriptor = _open_for_a_reader(path, flags | os.O_NOFOLLOW)
        status = os.fstat(descriptor)
        if stat.S_ISFIFO(status.st_mode) and status.st_uid != 0:
            os.close(descriptor)
            raise OSError(
                errno.EPERM, "it is a pipe that does not belong to root, who would have to wait for its reader"
            )
        return descriptor
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    if os.lstat(path).st_uid != 0:
        raise OSError(errno.ELOOP, "it is a symbolic link that does not belong to root")
    # Only where nobody else can put another link into its place.
    folder = os.stat(os.path.dirname(os.path.abspath(path)))
    if folder.st_uid != 0 or (folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX):
        raise OSError(errno.ELOOP, "it is a symbolic link in a directory that does not belong to root alone")
    return _open_for_a_reader(path, flags)


def _open_for_a_reader(path: str, flags: int) -> int:
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is a pipe that nobody reads") from error
        raise


def open_text(path: str, account: Account = UNCHANGED) -> TextIO:
    """A log as a text stream that writes each line at once; made for ``account``.  Raises OSError."""
    descriptor = open_log_file(path, account.user, account.group)
    return open(descriptor, "a", buffering=1, encoding="utf-8", errors="backslashreplace")


def follow(descriptor: int, path: str) -> None:
    """Let an open log lead to the file that has its name now.  Raises OSError, and then nothing has changed."""
    if stream_of(path):
        return
    now = open_log_file(path)
    os.dup2(now, descriptor, inheritable=False)  # in one step: another thread may be writing
    os.close(now)


@contextmanager
def told(log: str) -> Iterator[None]:
    """Make a StartError of an OSError; ``log`` is the path with the name of its setting, for people."""
    try:
        yield
    except OSError as error:
        raise StartError(f"cannot write the log {log}: {error.strerror}") from error


def prepare_files(logs: Logs, account: Account, origins: Mapping[str, str], *, make: bool = True) -> None:
    """Make sure, before anything of a generation runs, that both logs can be written, by the workers' user too.

    A file that does not exist is made, or without ``make`` it is only judged whether it could be.

    Raises StartError with the origin of a path that cannot.
    """
    for name, path in (("errorlog", logs.errorlog), ("accesslog", logs.accesslog)):
        if path is None or path == "-" or stream_of(path):
            continue
        log = f"{path} ({name}: {origins[name]})"
        with told(log):
            folders = Path(os.path.abspath(path)).parents
            closed = [str(folder) for folder in folders if not account.may_enter(folder.stat())]
            if closed:
                raise StartError(
                    f"cannot write the log {log} as {account.called} (user): that account may not enter {closed[-1]}"
                )
            if not make and not os.path.lexists(path):
                require_writable(os.path.dirname(os.path.abspath(path)))
                continue
            descriptor = open_log_file(path, account.user, account.group)
            status = os.fstat(descriptor)
            os.close(descriptor)
        if not account.may_write(status):
            raise StartError(
                f"cannot write the log {log} as {account.called} (user): "
                "give the file to that account with chown, or remove it"
            )
