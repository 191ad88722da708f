"""Opens the places where messages go: standard streams, files, syslog.  What is said is known by those who say it."""

from __future__ import annotations

import errno
import logging
import logging.handlers
import os
import socket
import stat
import sys
from collections.abc import Mapping
from typing import TextIO
from urllib.parse import urlsplit

from server_core.errors import StartError
from server_core.process import Account
from server_core.settings import Logs

_FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
_DATE_FORMAT = "%Y-%m-%d %H:%M:%S %z"


def error_log(logs: Logs, title: str) -> logging.Logger:
    """The log that the server writes to, open.

    It stands outside logging's tree of loggers: a project's logging configuration may disable all loggers that exist
    when it is read, and the server must still be heard.  Raises StartError when syslog does not answer.
    """
    log = logging.Logger("prefork-serve", logs.loglevel.upper())
    handler: logging.Handler
    handler = logging.StreamHandler(sys.stderr if logs.errorlog == "-" else open_text(logs.errorlog))
    handler.setFormatter(logging.Formatter(_FORMAT, _DATE_FORMAT))
    log.addHandler(handler)
    if logs.syslog:
        log.addHandler(syslog_handler(logs, title))
    return log


def syslog_handler(logs: Logs, title: str) -> logging.Handler:
    """A handler that sends to syslog; raises StartError when it cannot be reached."""
    url = urlsplit(logs.syslog_addr)
    kind = socket.SOCK_STREAM if url.scheme == "tcp" or url.fragment == "stream" else socket.SOCK_DGRAM
    address: str | tuple[str, int]
    address = url.path if url.scheme == "unix" else (url.hostname or "localhost", url.port or 514)
    try:
        handler = logging.handlers.SysLogHandler(address, logs.syslog_facility, kind)
    except OSError as error:
        raise StartError(f"cannot reach syslog at {logs.syslog_addr} (syslog_addr): {error.strerror or error}")
    prefix = (logs.syslog_prefix or title).replace("%", "%%")
    handler.setFormatter(logging.Formatter(f"{prefix}[%(process)d]: %(message)s"))
    return handler


def open_log_file(path: str, user: int = -1, group: int = -1) -> int:
    """Open a log for appending; returns its descriptor.  One that does not exist is made, for ``user`` and ``group``.

    An existing file keeps its owner, and root follows no link of somebody else's: a log may be in a directory where the
    account that serves, or whoever has taken it over, makes links to files of others.  Raises OSError.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o640)
    except FileExistsError:
        if os.geteuid() == 0 and os.path.islink(path) and os.lstat(path).st_uid != 0:
            raise OSError(errno.ELOOP, "it is a symbolic link that does not belong to root")
        trusts_links = os.geteuid() != 0 or os.path.islink(path)
        return os.open(path, flags if trusts_links else flags | os.O_NOFOLLOW)
    if os.geteuid() == 0 and (user, group) != (-1, -1):
        os.fchown(descriptor, user, group)
    return descriptor


def open_text(path: str) -> TextIO:
    """A log as a text stream that writes each line at once.  Raises OSError."""
    return open(open_log_file(path), "a", buffering=1, encoding="utf-8", errors="backslashreplace")


def prepare_files(logs: Logs, account: Account, origins: Mapping[str, str]) -> None:
    """Make sure, before anything runs, that both logs can be written, by the workers' user too.

    Raises StartError with the origin of a path that cannot.
    """
    for name, path in (("errorlog", logs.errorlog), ("accesslog", logs.accesslog)):
        if path is None or path == "-":
            continue
        try:
            descriptor = open_log_file(path, account.user, account.group)
            status = os.fstat(descriptor)
            os.close(descriptor)
        except OSError as error:
            raise StartError(f"cannot write the log {path} ({name}: {origins[name]}): {error.strerror}") from error
        if stat.S_ISREG(status.st_mode) and not account.may_write(status):
            raise StartError(
                f"cannot write the log {path} ({name}: {origins[name]}) as {account.name or account.user} (user): "
                "give the file to that account with chown, or remove it"
            )
