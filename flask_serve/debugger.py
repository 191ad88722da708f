"""Werkzeug's interactive debugger, right for several workers; does not know who serves, nor when it is wanted.

The frames of a traceback live in the worker that had the exception, but the commands of its page reach any worker.  So
the secret in a page names its worker: each listens on a socket that is called like its secret, in a directory that no
other user may enter.  A command with another worker's secret goes there as it came, and is judged there: Werkzeug
checks secret, PIN and host in the process that runs the command, whichever way it came.
"""

from __future__ import annotations

import atexit
import fcntl
import ipaddress
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import click
from werkzeug.debug import DebuggedApplication
from werkzeug.debug.tbtools import DebugTraceback
from werkzeug.security import gen_salt
from werkzeug.wrappers import Request, Response

from server_core.config.bindings import Binding

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    #: status, headers, body as latin-1 text: what travels between workers, as JSON
    Answer = tuple[str, list[tuple[str, str]], str]

#: process id and salt; also the name of a socket, so nothing else may be in it
_SECRET = re.compile(r"[0-9]{1,10}-[A-Za-z0-9]{20}")
_port = re.compile(r":[0-9]*\Z")
#: in the environ of a command that is for this worker
_COMMAND = "flask_serve.debugger.command"

_LOST = (
    "The worker that had this exception has ended (by a reload, by max_requests, or it was killed), and its frames "
    "with it: load the page again."
)
_REFUSED = "The debugger refuses this command: load the page again, and enter the PIN."


def debugged(application: WSGIApplication, bindings: Iterable[Binding]) -> Debugger:
    """``application`` with Werkzeug's debugger around it; to be called before the workers are forked.

    Beside this machine's own names, the hosts of ``bindings`` may be in the URL of a console.

    The workers share the PIN, and the number of wrong ones.  Whoever has called this and serves by itself shares
    nothing with its siblings: there the pages have tracebacks, but no consoles.
    """
    return Debugger(application, frozenset(filter(None, map(_host_in_urls, bindings))))


def _host_in_urls(binding: Binding) -> str:
    """The host as browsers send it, "" where the binding names none: everywhere, or no host at all."""
    try:
        address = ipaddress.ip_address(binding.host)
    except ValueError:
        return binding.host.lower()
    if address.is_unspecified:
        return ""
    return str(address) if address.version == 4 else f"[{address}]"


class FailedTries:
    """How many wrong PINs were given, in all workers: the length of a file that has no name.

    To append a byte is one step, so it needs no lock that somebody could die with.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="prefork-serve-tries-", buffering=0)  # noqa: SIM115
        fcntl.fcntl(self._file, fcntl.F_SETFL, os.O_APPEND)

    def add(self) -> int:
        """One more; returns how many there are."""
        os.write(self._file.fileno(), b"x")
        return self.value

    @property
    def value(self) -> int:
        """How many there are."""
        return os.fstat(self._file.fileno()).st_size

    @value.setter
    def value(self, number: int) -> None:
        os.ftruncate(self._file.fileno(), number)

    def __gt__(self, number: int) -> bool:  # before 3.0.3 Werkzeug takes this for a number
        return self.value > number


class Debugger(DebuggedApplication):
    """Made once, before the workers are forked; used by each of them."""

    def __init__(self, application: WSGIApplication, hosts: frozenset[str]) -> None:
        self._hosts = hosts
        self._failed_tries = FailedTries()
        super().__init__(application, evalex=True)
        # Found out now: a machine without a network card would have other PINs and cookies in each worker.
        self._told = (
            f"The PIN of the debugger: {self.pin}"
            if self.pin is not None
            else "The debugger asks for no PIN (WERKZEUG_DEBUG_PIN is off): who reaches this server can run any code."
        )
        self._importer = os.getpid()
        self._folder = os.path.join(tempfile.gettempdir(), f"prefork-serve-{gen_salt(10)}")
        self._lock = Lock()
        self._open = False

    # -- the PIN

    @property
    def _failed_pin_auth(self) -> Any:
        return self._failed_tries

    @_failed_pin_auth.setter
    def _failed_pin_auth(self, value: Any) -> None:
        if value == 0:  # the right PIN, before 3.0.3; its own counter of later versions is not wanted
            self._failed_tries.value = 0

    def _fail_pin_auth(self) -> None:
        # Counted first: who tries several at once gains nothing.
        time.sleep(5.0 if self._failed_tries.add() > 6 else 0.5)

    # -- the host

    def check_host_trust(self, environ: WSGIEnvironment) -> bool:
        """Is this a host that we are known by?  Not every name that leads to us: a stranger's page could have one made.

        Werkzeug's own ``trusted_hosts`` can hold no IPv6 address; before 3.0.3 it trusts every host, and does not ask.
        """
        host = _port.sub("", environ.get("HTTP_HOST", "")).lower()
        return host in self._hosts or super().check_host_trust(environ)

    # -- requests

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The page's commands go to the worker that its secret names; all else is Werkzeug's business."""
        if os.getpid() == self._importer:
            self.evalex = False  # each worker has made a debugger for itself, and knows nothing of the others
        args = Request(environ).args
        secret = args.get("s", "")
        if args.get("__debugger__") != "yes" or not _SECRET.fullmatch(secret):
            return super().__call__(environ, start_response)
        try:
            status, headers, body = self._answer(environ) if secret == self.secret else self._ask(secret, environ)
        except (OSError, ValueError):  # it is not there, or it has ended before its answer was whole
            return _sentence(410, _LOST)(environ, start_response)
        start_response(status, [(name, value) for name, value in headers])
        return [body.encode("latin-1")]

    def debug_application(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        """The application's answer, or a page about its exception."""
        if _COMMAND in environ:
            # Werkzeug refuses by running the application, whose answer would be shown in the console.
            yield from _sentence(403, _REFUSED)(environ, start_response)
            return
        contexts: list[Any] = []
        if self.evalex:
            environ["werkzeug.debug.preserve_context"] = contexts.append
        begun = False
        try:
            result = self.app(environ, start_response)
            try:
                for block in result:  # "yield from" would close it as well, and once is enough
                    begun = True
                    yield block
            finally:
                if hasattr(result, "close"):
                    result.close()
        except Exception as error:
            if begun:
                raise  # too late for a page: the server logs it, and cuts the connection so that the client can tell
            traceback = DebugTraceback(error, skip=1)
            where = f"{environ['REQUEST_METHOD']} {environ.get('RAW_URI', environ['PATH_INFO'])}"
            environ["wsgi.errors"].write(f"Error in the application at {where}\n{traceback.render_traceback_text()}")
            page = self._page(traceback, contexts, environ)
            exc_info = sys.exc_info()
            # The application may have called start_response; what it said is replaced.
            yield from page(environ, lambda status, headers, _=None: start_response(status, headers, exc_info))

    def _page(self, traceback: DebugTraceback, contexts: list[Any], environ: WSGIEnvironment) -> Response:
        self._open_once()
        # Before 3.0.3 Werkzeug trusts every host.
        consoles = self.evalex and (not hasattr(super(), "check_host_trust") or self.check_host_trust(environ))
        if self.evalex:
            for frame in traceback.all_frames:
                self.frames[id(frame)] = frame
                self.frame_contexts[id(frame)] = contexts
        html = traceback.render_debugger_html(
            evalex=consoles,
            secret=self.secret if consoles else "",
            evalex_trusted=bool(self.check_pin_trust(environ)),
        )
        return Response(html, 500, mimetype="text/html")

    def display_console(self, request: Request) -> Response:
        """The page of a console outside any traceback; it stays in the worker that shows it."""
        self._open_once()
        return super().display_console(request)

    # -- between workers

    def _open_once(self) -> None:
        """Before the first page of this worker: have a secret, and be found by it."""
        with self._lock:
            if self._open:
                return
            self._open = True
            if not self.evalex:
                _tell(
                    "The debugger shows tracebacks without consoles, because each worker has imported the application "
                    "for itself: switch preload_app on."
                )
                return
            try:
                self._listen()
            except OSError as error:
                self.evalex = False
                _tell(f"The debugger shows tracebacks without consoles: cannot listen in {self._folder}: {error}.")

    def _listen(self) -> None:
        atexit.register(self._leave)
        secret = f"{os.getpid()}-{gen_salt(20)}"
        listener = socket.socket(socket.AF_UNIX)
        try:
            first = self._bind(listener, secret)
            listener.listen()
        except OSError:
            listener.close()
            raise
        # A process that the application forks must not hold it open, or nobody could tell that we are gone.
        os.register_at_fork(after_in_child=listener.close)
        Thread(target=self._hear, args=(listener,), name="prefork-serve debugger", daemon=True).start()
        self.secret = secret
        if first:
            _tell(self._told)

    def _bind(self, listener: socket.socket, secret: str) -> bool:
        """Give the socket its name; returns whether this worker is the first one in the directory."""
        while True:
            try:
                os.mkdir(self._folder, 0o700)
                first = True
            except FileExistsError:
                first = False  # a sibling has made it
            try:
                listener.bind(self._path(secret))
                return first
            except FileNotFoundError:
                pass  # the last of the siblings has just left, and has taken the directory away

    def _path(self, secret: str) -> str:
        """Where the worker of that secret listens.  Raises OSError when the directory is not there, or not ours."""
        if os.lstat(self._folder).st_uid != os.geteuid():
            # When the last worker has left, anybody who has seen the name can make it anew.
            raise PermissionError("it belongs to another user")
        return os.path.join(self._folder, secret)

    def _leave(self) -> None:
        """Take away our socket and those of siblings that were killed; the last one takes the directory."""
        with suppress(OSError):
            for name in os.listdir(self._folder):
                pid = int(name.partition("-")[0])
                if pid == os.getpid() or not _lives(pid):
                    with suppress(FileNotFoundError):  # a sibling that leaves too was quicker
                        os.unlink(os.path.join(self._folder, name))
            os.rmdir(self._folder)

    def _hear(self, listener: socket.socket) -> None:
        with listener:
            while True:
                sibling, _ = listener.accept()
                # Each in its own thread: a command may take as long as it likes.
                Thread(target=self._serve, args=(sibling,), name="prefork-serve debugger", daemon=True).start()

    def _serve(self, sibling: socket.socket) -> None:
        """Answer what a sibling passes on; if it is gone meanwhile, nobody needs the answer."""
        with sibling, suppress(OSError, ValueError):
            environ = json.loads(_receive(sibling)) | {"wsgi.errors": sys.stderr}
            sibling.sendall(json.dumps(self._answer(environ)).encode("ascii"))
            sibling.shutdown(socket.SHUT_RDWR)  # a process that the command has forked holds it open

    def _answer(self, environ: WSGIEnvironment) -> Answer:
        """Do what a page of this worker asks for, if Werkzeug allows it."""
        try:
            response = Response.from_app(super().__call__, environ | {_COMMAND: True}, buffered=True)
        except BaseException as error:  # exit() in a console raises SystemExit
            response = _sentence(500, f"The command ended with {type(error).__name__}.")
        return response.status, list(response.headers), response.get_data().decode("latin-1")

    def _ask(self, secret: str, environ: WSGIEnvironment) -> Answer:
        """Pass a request on to the worker of that secret.  Raises OSError or ValueError when it is gone."""
        with socket.socket(socket.AF_UNIX) as sibling:
            sibling.connect(self._path(secret))
            text = {name: value for name, value in environ.items() if isinstance(value, str)}
            sibling.sendall(json.dumps(text).encode("ascii"))
            sibling.shutdown(socket.SHUT_WR)
            answer: Answer = json.loads(_receive(sibling))
            return answer


def _sentence(status: int, text: str) -> Response:
    return Response(text, status, mimetype="text/html")


def _receive(sock: socket.socket) -> bytes:
    with sock.makefile("rb") as stream:
        return stream.read()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _tell(sentence: str) -> None:
    click.echo(sentence, err=True)
