"""Knows every server that is measured and how it is started, and every workload and what it is given to serve.

All servers are started as their own documents say, on loopback, with the access log off unless the workload is about
it, and with the same number of threads where they have threads.  This is data: nothing here starts a process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OURS, BARE = "prefork-serve", "bare loop"
SYNC, GTHREAD, GEVENT, GRANIAN = f"{OURS} sync", f"{OURS} gthread", f"{OURS} gevent", "granian"
ASGI, UVICORN = f"{OURS} asgi", "uvicorn"
THREADS = 8  # of every threaded server: the same for all, or the comparison says nothing
BODY = b"Hello, World!"  # what every application in apps/ answers at /
WAITING = "sleep2"  # the oldest workload whose application waits, so that threads count
CERTIFICATE, KEY = "certificate.pem", "key.pem"  # of all servers that speak TLS
ONE_FLEET = 32  # connections at which most workloads are compared and most floors are judged

# What stands in the environment beside our own package.  setuptools is there to build ours; Gunicorn's gevent worker
# imports packaging.
PACKAGES = ("setuptools>=70.1", "granian", "gunicorn", "gevent", "packaging", "uwsgi", "waitress", "flask", "django")
PACKAGES += ("uvicorn", "httptools", "uvloop")
# What is measured when the system has it: program -> how it is told to say its version.
PROGRAMS = {"nginx": "-v", "python3": "--version"}


@dataclass(frozen=True)
class Workload:
    """What is served, to whom, and what the servers must be able to do for it."""

    name: str
    says: str
    module: str = "plaintext"  # in apps/
    path: str = "/"
    connections: tuple[int, ...] = (ONE_FLEET,)
    workers: int = 1  # more than one: nobody is pinned, and the client shares the cores
    waits: bool = False  # the application waits, so servers with threads get them
    logged: bool = False  # with the access log on, to a file
    without: tuple[str, ...] = ()  # servers that are left out, by name
    patience: int = 0  # seconds that an answer may take, if that is more than wrk and a newcomer wait by themselves
    wrk: tuple[str, ...] = ()  # words for wrk; {apps} is the folder of the applications
    harmless: tuple[str, ...] = ()  # what wrk calls errors and is none here
    # Requests come at a steady rate, whatever the answers do, instead of one after the other: so many a second, or
    # half of what the slowest of some servers reaches with the closed workload of that name.
    arrivals: int = 0
    half_of: str = ""
    slow_every: int = 0  # so many-th request asks for the slow answer
    tls: bool = False  # by https
    handshakes: bool = False  # and each request with a handshake of its own
    asgi: bool = False  # the application speaks ASGI

    @property
    def steady(self) -> bool:
        return bool(self.arrivals or self.half_of)


_NO_THREADS = (SYNC, "gunicorn sync")
HALVED = (SYNC, GRANIAN)  # the servers whose slowest decides the rate of half_of

_ALL = (
    Workload("plaintext", "kept connections", connections=(1, ONE_FLEET, 512)),
    # uWSGI ends a connection as it was asked to, but does not say so in its answer; answers that are cut count nowhere.
    Workload(
        "closing", "a new connection for each request", wrk=("-H", "Connection: close"), harmless=("read",),
        without=(BARE,),
    ),
    Workload("tls", "kept connections by TLS", tls=True),
    Workload("handshakes", "a whole TLS handshake for each request", connections=(8,), tls=True, handshakes=True),
    Workload("logged", "plaintext with the access log on, to a file", logged=True),
    Workload("asgi", "kept connections, an ASGI application", "asgi_plaintext", asgi=True),
    Workload("flask_hello", "the smallest Flask", "flask_hello", connections=(4, ONE_FLEET, 512)),
    Workload("django_hello", "the smallest Django", "django_hello", connections=(4, ONE_FLEET, 512)),
    Workload("open_flask", "Flask, steady arrivals at half of saturation", "flask_hello", half_of="flask_hello"),
    Workload("open_django", "Django, steady arrivals at half of saturation", "django_hello", half_of="django_hello"),
    Workload(WAITING, "waits 2 ms", "sleep2", waits=True),
    Workload("sleep50", "waits 50 ms", "sleep50", waits=True, without=_NO_THREADS),
    Workload("sleep5x1", "waits 5 × 1 ms and works between", "sleep5x1", waits=True, without=_NO_THREADS),
    Workload(
        "mixed", "200 requests a second, each tenth waits 50 ms", "mixed",
        waits=True, without=_NO_THREADS, arrivals=200, slow_every=10,
    ),
    Workload("mb1", "1 MB as one bytes object", "bulk", "/mb1", patience=20),
    Workload("file100", "100 MB through wsgi.file_wrapper", "bulk", "/file100", (4,), patience=20),
    Workload(
        "upload20", "20 MB sent to the application", "bulk", "/upload", (4,),
        patience=20, wrk=("--script", "{apps}/upload.lua"),
    ),
    Workload("plaintext_two", "two workers, two cores", connections=(64,), workers=2),
    Workload("flask_two", "Flask, two workers, two cores", "flask_hello", connections=(64,), workers=2),
)  # fmt: skip
WORKLOADS = {workload.name: workload for workload in _ALL}


@dataclass(frozen=True)
class Server:
    """One row of every table.  ``command`` has gaps that ``command_line`` fills; the words for a kind of workload are
    added to it, and None leaves the server out of workloads of that kind."""

    name: str
    package: str
    command: str
    quiet: str = ""  # without the access log
    logged: str | None = None  # with the access log
    waiting: str | None = ""  # where the application waits
    tls: str | None = None  # where https is spoken
    config: str = ""  # a file of its own, to be named in the words as {config}; its gaps are written $(name)
    modules: tuple[str, ...] = ()  # the only ones that it can stand in for; none means that it serves Python
    leaf_is_worker: bool = False  # a process without children is a worker, so memory can be told per worker
    asgi: bool = False  # it serves ASGI applications, and no others
    routed: bool = False  # a process in front holds the connections, so they are no worker's

    @property
    def key(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def is_program(self) -> bool:
        """Comes with the system instead of from the environment."""
        return self.package in PROGRAMS

    def takes(self, workload: Workload) -> bool:
        return not (
            self.name in workload.without
            or self.asgi != workload.asgi
            or (workload.waits and self.waiting is None)
            or (workload.logged and self.logged is None)
            or (workload.tls and self.tls is None)
            or (workload.workers > 1 and "workers" not in self.command + self.config)
            or (self.modules and workload.module not in self.modules)
        )

    def command_line(
        self, environment: Path, port: int, application: str, given: Workload | None = None, folder: Path = Path()
    ) -> list[str]:
        """The words that start it; its own files are in the folder: ``config_file`` and ``access_log``."""
        given = given or Workload("", "")
        extra = (
            self.logged if given.logged else self.quiet,
            self.waiting if given.waits else "",
            self.tls if given.tls else "",
        )
        words = " ".join(filter(None, (self.command, *extra))).format(
            bind=f"127.0.0.1:{port}", port=port, threads=THREADS, workers=given.workers, environment=environment,
            config=self.config_file(folder), log=self.access_log(folder),
            certificate=folder / CERTIFICATE, key=folder / KEY,
        ).split()  # fmt: skip
        if self.is_program:
            return words
        return [str(environment / "bin" / words[0]), *words[1:], *_application(self.package, application)]

    def config_file(self, folder: Path) -> Path:
        return folder / f"{self.key}.config"

    def access_log(self, folder: Path) -> Path:
        return folder / f"{self.key}.access"

    def config_text(self, port: int, workers: int, folder: Path) -> str:
        """What is in its own file; such files are full of braces, so their gaps look different."""
        text = self.config
        for gap, value in {
            "port": port, "workers": workers, "folder": folder, "log": self.access_log(folder), "body": BODY.decode()
        }.items():  # fmt: skip
            text = text.replace(f"$({gap})", str(value))
        return text


def _application(package: str, application: str) -> list[str]:
    spec = application if ":" in application else f"{application}:app"
    return ["--module", spec] if package == "uwsgi" else [spec]


_SERVE = "prefork-serve -w {workers} -b {bind}"
_SERVE_LOGGED = "--access-logfile {log}"
_CERTIFICATE = "--certfile {certificate} --keyfile {key}"
_GRANIAN = "granian --interface wsgi --workers {workers} --log-level error --host 127.0.0.1 --port {port}"
_GRANIAN_LOGGED = "--access-log --log-config {config}"
# Granian has no option for the file: the logger of that name is told by the logging module's own configuration.
_GRANIAN_CONFIG = """\
{"handlers": {"console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
              "access": {"class": "logging.FileHandler", "formatter": "access", "filename": "$(log)"}}}
"""
_GRANIAN_TLS = "--ssl-certificate {certificate} --ssl-keyfile {key}"
_GUNICORN = "gunicorn -w {workers} -b {bind} --log-level warning --no-control-socket"
_GUNICORN_LOGGED = "--access-logfile {log}"
# Without its HTTP router uWSGI either closes after every answer (http-socket) or, with http11-socket, gives a whole
# thread to each open connection and lets the others starve, so the router is the only way in which it keeps alive.
_UWSGI = (
    "uwsgi --http {bind} --http-keepalive --http-auto-chunked --master --workers {workers} --need-app --die-on-term"
    " --virtualenv {environment}"
)
# Its limit of open connections is below what the largest run opens.
_WAITRESS = "waitress-serve --listen {bind} --threads {threads} --connection-limit 2000"
# With the same loop and parser that it takes by itself where they are installed.
_UVICORN = "uvicorn --workers {workers} --host 127.0.0.1 --port {port} --no-access-log --log-level warning"
# What a server without any Python reaches.  It needs folders of its own because it may not be the system's user.
_NGINX = """\
daemon off;
worker_processes $(workers);
worker_rlimit_nofile 20000;
pid $(folder)/nginx.pid;
error_log stderr error;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path $(folder)/nginx_body;
    proxy_temp_path $(folder)/nginx_proxy;
    fastcgi_temp_path $(folder)/nginx_fastcgi;
    uwsgi_temp_path $(folder)/nginx_uwsgi;
    scgi_temp_path $(folder)/nginx_scgi;
    server {
        listen 127.0.0.1:$(port) backlog=2048;
        location / {
            default_type text/plain;
            return 200 "$(body)";
        }
    }
}
"""

SERVERS = (
    Server(SYNC, OURS, _SERVE, logged=_SERVE_LOGGED, tls=_CERTIFICATE, leaf_is_worker=True),
    Server(
        GTHREAD, OURS, _SERVE + " -k gthread --threads {threads}",
        logged=_SERVE_LOGGED, tls=_CERTIFICATE, leaf_is_worker=True,
    ),
    Server(
        GEVENT, OURS, _SERVE + " -k gevent", logged=_SERVE_LOGGED, tls=_CERTIFICATE, leaf_is_worker=True
    ),
    Server(
        GRANIAN, "granian", _GRANIAN,
        logged=_GRANIAN_LOGGED, waiting="--blocking-threads {threads}", tls=_GRANIAN_TLS, config=_GRANIAN_CONFIG,
    ),
    Server(
        "granian 1 thread", "granian", _GRANIAN + " --blocking-threads 1",
        logged=_GRANIAN_LOGGED, waiting=None, config=_GRANIAN_CONFIG,
    ),
    Server(
        "gunicorn sync", "gunicorn", _GUNICORN + " -k sync",
        logged=_GUNICORN_LOGGED, tls=_CERTIFICATE, leaf_is_worker=True,
    ),
    Server(
        "gunicorn gthread", "gunicorn", _GUNICORN + " -k gthread --threads {threads}",
        logged=_GUNICORN_LOGGED, tls=_CERTIFICATE, leaf_is_worker=True,
    ),
    Server(
        "gunicorn gevent", "gunicorn", _GUNICORN + " -k gevent",
        logged=_GUNICORN_LOGGED, tls=_CERTIFICATE, leaf_is_worker=True,
    ),
    Server(
        "uwsgi", "uwsgi", _UWSGI,
        quiet="--disable-logging", logged="--logto {log}", waiting="--threads {threads}", routed=True,
    ),
    Server("waitress", "waitress", _WAITRESS),
    Server(ASGI, OURS, _SERVE + " -k asgi", asgi=True, logged=_SERVE_LOGGED, tls=_CERTIFICATE, leaf_is_worker=True),
    Server(UVICORN, "uvicorn", _UVICORN, asgi=True, leaf_is_worker=True),
    Server("nginx", "nginx", "nginx -e stderr -c {config}", config=_NGINX, modules=("plaintext",), leaf_is_worker=True),
    # What a loop in Python reaches that understands nothing of what it is asked.
    Server(
        BARE, "python3", "{environment}/bin/python3 bare_loop.py {port}",
        modules=("plaintext",), leaf_is_worker=True,
    ),
)  # fmt: skip
WSGI_SERVERS = tuple(
    server for server in SERVERS if not (server.modules or server.asgi)
)  # those that serve any application
WSGI_PEERS = tuple(server.name for server in WSGI_SERVERS if server.package != OURS)


def chosen(words: list[str], among: tuple[Server, ...] = WSGI_SERVERS) -> list[Server]:
    """The servers whose key is one of the words or begins with it: ``gunicorn`` means all of Gunicorn's rows.

    A word that is the whole key of a server means that server alone, unless the word ends with ``*``.
    """
    keys: set[str] = set()
    for word in words:
        exact = {server.key for server in among if server.key == word}
        found = exact or {server.key for server in among if server.key.startswith(word.rstrip("*"))}
        if not found:
            raise ValueError(f"no server is called {word}; there are {', '.join(server.key for server in among)}")
        keys |= found
    return [server for server in among if server.key in keys]
