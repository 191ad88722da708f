"""Knows every way in which this server refuses, and what each refusal is worth: an HTTP status or an exit code.

Nothing here knows who raises an error or who reports it.  An error carries all that its reporter needs, so that no
one has to ask an error for its type.
"""

from __future__ import annotations


class ServeError(Exception):
    """The server cannot start or go on.  The message is one sentence for a person: what, from where, what to do.

    ``exit_code`` is the exit status of the process when nobody handles the error.  ``details`` holds a traceback when
    the fault is in the application's own code, and is empty for a typo, where one sentence says it all.
    """

    exit_code = 1

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class ConfigError(ServeError):
    """A setting is unknown, of the wrong type or out of range, or two settings contradict each other."""

    exit_code = 2


class StartError(ServeError):
    """The settings are right but the machine says no: a port in use, a file that cannot be opened, a live pid file."""


class BootError(ServeError):
    """Worker processes cannot be brought up although the application could be imported, or the import does not end."""

    exit_code = 3


class AppLoadError(ServeError):
    """The application cannot be found, cannot be imported or is not callable."""

    exit_code = 4


class ProtocolError(Exception):
    """The client's bytes are not a request that we accept; ``status`` is what it is answered with.

    The message is for the log only: nothing of the request is ever sent back (architecture: no echo).  ``advice`` is
    the exception, a sentence for the client, in characters that mean nothing to a browser; and so is ``location``, the
    URL where the client has to ask instead.
    """

    def __init__(self, status: int, message: str, advice: str = "", location: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.advice = advice
        self.location = location
