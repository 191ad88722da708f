"""Knows every server that is measured, how it is started with one worker process, and what it is given to serve.

All servers are started as their own documents say, with the access log off, on loopback, and with the same number of
threads where they have threads.  This is data: nothing here starts a process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OURS = "prefork-serve"
THREADS = 8  # of every threaded server: the same for all, or the comparison says nothing
BODY = b"Hello, World!"  # what every application in apps/ answers
WAITING = "sleep2"  # the workload whose application waits, so that threads count
ONE_FLEET = 32  # connections at which the workloads are compared and the floors are judged

# workload (a module in apps/) -> the numbers of connections it is measured with
WORKLOADS = {
    "plaintext": (1, ONE_FLEET, 512),
    "flask_hello": (ONE_FLEET,),
    "django_hello": (ONE_FLEET,),
    WAITING: (ONE_FLEET,),
}

# What stands in the environment beside our own package.  setuptools is there to build ours; Gunicorn's gevent worker
# imports packaging.
PACKAGES = ("setuptools>=70.1", "granian", "gunicorn", "gevent", "packaging", "uwsgi", "waitress", "flask", "django")


@dataclass(frozen=True)
class Server:
    """One row of every table: ``command`` is filled in by ``command_line``; ``waiting`` are the words added for the
    workload that waits, and None leaves the server out of that workload."""

    name: str
    package: str
    command: str
    waiting: str | None = ""
    leaf_is_worker: bool = False  # a process without children is a worker, so memory can be told per worker

    @property
    def key(self) -> str:
        return self.name.replace(" ", "-")

    def takes(self, workload: str) -> bool:
        return workload != WAITING or self.waiting is not None

    def command_line(self, environment: Path, port: int, workload: str) -> list[str]:
        words = f"{self.command} {self.waiting if workload == WAITING else ''}".format(
            bind=f"127.0.0.1:{port}", port=port, threads=THREADS, environment=environment
        ).split()
        return [str(environment / "bin" / words[0]), *words[1:], *_application(self.package, workload)]


def _application(package: str, workload: str) -> list[str]:
    spec = f"{workload}:app"
    return ["--module", spec] if package == "uwsgi" else [spec]


_SERVE = "prefork-serve -w 1 -b {bind}"
_GRANIAN = "granian --interface wsgi --workers 1 --log-level error --host 127.0.0.1 --port {port}"
_GUNICORN = "gunicorn -w 1 -b {bind} --log-level warning --no-control-socket"
# Without its HTTP router uWSGI either closes after every answer (http-socket) or, with http11-socket, gives a whole
# thread to each open connection and lets the others starve, so the router is the only way in which it keeps alive.
_UWSGI = (
    "uwsgi --http {bind} --http-keepalive --http-auto-chunked --master --workers 1 --need-app --die-on-term"
    " --disable-logging --virtualenv {environment}"
)
# Its limit of open connections is below what the largest run opens.
_WAITRESS = "waitress-serve --listen {bind} --threads {threads} --connection-limit 2000"

SERVERS = (
    Server("prefork-serve sync", OURS, _SERVE, leaf_is_worker=True),
    Server("prefork-serve gthread", OURS, _SERVE + " -k gthread --threads {threads}", leaf_is_worker=True),
    Server("granian", "granian", _GRANIAN, waiting="--blocking-threads {threads}"),
    Server("granian 1 thread", "granian", _GRANIAN + " --blocking-threads 1", waiting=None),
    Server("gunicorn sync", "gunicorn", _GUNICORN + " -k sync", leaf_is_worker=True),
    Server("gunicorn gthread", "gunicorn", _GUNICORN + " -k gthread --threads {threads}", leaf_is_worker=True),
    Server("gunicorn gevent", "gunicorn", _GUNICORN + " -k gevent", leaf_is_worker=True),
    Server("uwsgi", "uwsgi", _UWSGI, waiting="--threads {threads}"),
    Server("waitress", "waitress", _WAITRESS),
)


def chosen(words: list[str]) -> list[Server]:
    """The servers whose key is one of the words or begins with it: ``gunicorn`` means all of Gunicorn's rows.

    A word that is the whole key of a server means that server alone, unless the word ends with ``*``.
    """
    keys: set[str] = set()
    for word in words:
        exact = {server.key for server in SERVERS if server.key == word}
        found = exact or {server.key for server in SERVERS if server.key.startswith(word.rstrip("*"))}
        if not found:
            raise ValueError(f"no server is called {word}; there are {', '.join(server.key for server in SERVERS)}")
        keys |= found
    return [server for server in SERVERS if server.key in keys]
