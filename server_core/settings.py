"""Knows every setting, what it means and what it is unless someone says otherwise; does not know how values arrive.

This file is the manual: each section is a chapter, its docstring opens it, and each setting is declared once.  The
options of the command lines, the names in the environment, the keys of files and frameworks and the reference page are
all drawn from here.  Names and meanings are Gunicorn's wherever the meaning is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from server_core.config.bindings import Binding
from server_core.config.cpus import usable_cpus
from server_core.config.declare import setting
from server_core.config.values import (
    Network,
    account,
    address,
    boolean,
    certificates_by_name,
    choice,
    duration,
    integer,
    list_of,
    matching,
    mounts,
    networks,
    octal_mode,
    optional,
    pairs,
    path,
    pattern,
    secret,
    size,
    text,
    without_arguments,
)

ACCESS_LOG_FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""Apache's combined format, which every log analyser reads."""

COMMON_FIELDS = frozenset(
    "accept authorization connection content-length content-type cookie expect forwarded host origin referer "
    "transfer-encoding user-agent".split()
)
"""What clients send anyway: such a field cannot be a proxy's word about them."""

SYSLOG_FACILITIES = (
    *("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp"),
    *("local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)


ADHOC = "adhoc"
"""In place of a file: a certificate that the server makes for itself."""

NO_FILE = "names no file: leave it out where there is none"
"""Of files without which the server would speak plain HTTP, or ask nobody who he is: a variable that is empty by
mistake must not do that."""


@dataclass(frozen=True)
class Application:
    """What is served, and from where it is imported."""

    wsgi_app: str | None = setting(
        None,
        optional(text("text", "APP")),
        flags=(),
        mask=lambda app: app and without_arguments(app),
        default_text="none; `manage.py serve` and `flask serve` know their application",
        help="The application: module:callable, or 'module:factory(\"argument\")' for a function that is called once "
        "and returns it.  The plain command line takes it as its only argument.",
    )
    chdir: str = setting(
        ".",
        path(metavar="DIRECTORY"),
        default_text="the current directory",
        help="The directory to change to before the application is imported.  Modules and relative paths, those of "
        "log files and the pid file too, are looked up from there.",
    )
    warmup: tuple[str, ...] = setting(
        "",
        list_of(matching(r"/[!-+.-~-]*", "path", "PATH", "is no path: write /health"), "list of paths"),
        default_text="none",
        help="Pages that each new worker asks its application for before it serves, inside the process: /, /health.  "
        "One that raises an exception or is answered with a status of 500 or more counts as an application that cannot "
        "be loaded: a start is refused, and after a reload the old workers serve on.  boot_timeout is their limit.",
    )


@dataclass(frozen=True)
class Profile:
    """What the server is for at the moment, and what it insists on before it serves."""

    profile: str = setting(
        "production",
        choice("production", "development"),
        default_text="`development` when Django or Flask is in debug mode, else `production`",
        help="What the server is for.  development means, unless the settings themselves say otherwise: reload, one "
        "worker with 8 threads, a readable line on standard output for each request, a page in the browser that tells "
        "what is broken, the framework's debugger, static files and media without any setup.  production means none "
        "of these, and an inspection before each start and reload (checks).",
    )
    checks: bool = setting(
        True,
        boolean(),
        help="Inspect the project before each start and reload.  With Django: its system checks, whose errors refuse "
        "the start, and unapplied migrations; in production also check --deploy, static files that nobody has "
        "collected, and more connections than databases have.  With Flask: debug mode that the network can reach, and "
        "weak secrets.  What is found is told once; a reload that is refused leaves the old code serving.",
    )
    strict: bool = setting(
        False,
        boolean(),
        help="Refuse to start, or to reload, when the inspection (checks) finds anything in production, instead of "
        "only saying so.",
    )
    silenced_checks: tuple[str, ...] = setting(
        "",
        list_of(text("name", "NAME"), "list of names"),
        flags=("--silence-check",),
        help="Findings of the inspection (checks) that are nobody's concern, by name, as in serve.W009: they are not "
        "told and refuse nothing.  With Django, SILENCED_SYSTEM_CHECKS silences those of the project as well.",
    )

    @property
    def develops(self) -> bool:
        """Is the code being written?"""
        return self.profile == "development"


@dataclass(frozen=True)
class Paths:
    """The names and paths under which the application is reached, and the files that are served beside it."""

    script_name: str = setting(
        "",
        matching(r"(/[!-.0-9:-~]+)*", "path", "PATH", "is no path to mount on: write /shop", empty=True),
        default_text="none: the application is at the root",
        help="The path that the application is mounted on, SCRIPT_NAME for it: with /shop, a request for /shop/cart is "
        "the application's /cart.  It does not matter whether the proxy in front takes the path away or passes it on.",
    )
    allowed_hosts: tuple[str, ...] = setting(
        "",
        list_of(text("host", "HOST"), "list of hosts"),
        flags=("--allowed-host",),
        default_text="ALLOWED_HOSTS of Django, TRUSTED_HOSTS of Flask; else every host",
        help="The hosts, in Django's spelling, for which requests may come: example.org, .example.org with all its "
        "subdomains, * for all.  They are looked at only with check_hosts.",
    )
    static: bool = setting(
        True,
        boolean(),
        help="Serve static_mounts.  Switch it off where the web server in front, or the application, serves them.",
    )
    static_mounts: tuple[tuple[str, str], ...] = setting(
        "",
        mounts(),
        flags=("--static-mount",),
        default_text="STATIC_URL=STATIC_ROOT of Django in production, the static folder of Flask; else none",
        help="Directories whose files are served below a path, /static/=public, with caching, ranges, and the "
        "compressed variants (.gz, .br) that lie beside them; it needs the package whitenoise.  Files that are there "
        "at the start are served, in development all that are there at the moment.  What static storage with a "
        "manifest has given hashed names is cached for ever, anything else for a minute.",
    )
    check_hosts: bool = setting(
        False,
        boolean(),
        help="Answer requests for other hosts than allowed_hosts with 400 before their body is read and before the "
        "application sees them.  What counts is the Host field: leave it off where a proxy puts another host there.",
    )
    health_path: tuple[str, ...] = setting(
        "",
        list_of(
            matching(
                r"/[!$&'()*+.:;=@_~/0-9A-Za-z-]*",
                "path",
                "PATH",
                "is no path for probes: write /-/live (letters, digits and marks, without %, ? and #)",
            ),
            "list of two paths",
        ),
        default_text="none: the application answers all paths",
        help="Two paths, as in /-/live,/-/ready, at which the server itself answers GET and HEAD, for the probes of "
        "Kubernetes and load balancers.  The first says 200 as soon as a worker hears it.  The second says 200, or 503 "
        "and why: while the server starts, from the moment on at which it is told to end, and when the probe found no "
        "worker free for more than 2 seconds (which is known for TCP on Linux).  They begin at the root, whatever "
        "script_name is, and are answered on all addresses, whatever the Host (check_hosts).  They are not in the "
        "access log and do not count for max_requests.  Like any request they wait for a thread that is free.",
    )


@dataclass(frozen=True)
class Sockets:
    """Where the server listens."""

    bind: tuple[Binding, ...] = setting(
        "127.0.0.1:8000",
        list_of(address(), "list of addresses"),
        flags=("-b", "--bind"),
        env={"PORT": "0.0.0.0:{}"},
        help="The address to listen on: 127.0.0.1:8000, [::1]:8000, unix:/run/app.sock, unix:@name (Linux, a name "
        "without a file) or fd://3 (a socket inherited from the process manager).  A host without a port means port "
        "8000, a port alone means 127.0.0.1, a colon and a port mean all IPv4 addresses of the machine.  Port 0 lets "
        "the machine choose a free one.  Give several to listen on all of them.  With certfile they speak https; one "
        "that begins with http:// or https:// says so itself, and without a port means 80 or 443.  The variable PORT, "
        "which platforms set, means that port on all IPv4 addresses.",
    )
    backlog: int = setting(
        2048,
        integer(1, 65535),
        help="How many new connections the kernel keeps waiting while all workers are busy; more are refused or have "
        "to try again.  The kernel has a limit of its own (net.core.somaxconn on Linux) and takes the smaller number.",
    )
    socket_mode: int = setting(
        "660",
        octal_mode("660"),
        help="The permissions of unix sockets, in octal.  With 660 the proxy in front has to be the same user or a "
        "member of the same group; with 666 every user of the machine may connect.",
    )


@dataclass(frozen=True)
class Workers:
    """How many processes and threads run the application, and for how long one of them lives."""

    workers: int = setting(
        usable_cpus,
        integer(1, 4096),
        flags=("-w", "--workers"),
        env={"WEB_CONCURRENCY": "{}"},
        default_text="the number of CPUs that this process may use, by affinity and control group",
        help="How many worker processes serve requests.  One for each CPU is right for most applications; one that "
        "waits a lot for databases or other services gets more from threads.  Every worker needs memory of its own.",
    )
    worker_class: str = setting(
        "sync",
        text("text", "CLASS"),
        flags=("-k", "--worker-class"),
        default_text="`sync`, or `gthread` when `threads` is above 1",
        help="The way in which a worker waits for its clients: sync (one request at a time), gthread (a pool of "
        "threads), gevent or eventlet (a greenlet for each request), asgi (an event loop, for ASGI applications; it "
        "needs the package uvicorn), tornado (its event loop, for its applications; for WSGI like gthread), or "
        "package.module:Class for your own.  Slow clients hold up none of them.",
    )
    threads: int = setting(
        1,
        integer(1, 1024),
        help="How many requests one worker process may run at the same time, each in a thread.  More than 1 helps an "
        "application that waits for other services, and needs one whose code may run in threads.",
    )
    max_requests: int = setting(
        0,
        integer(0, 10**9),
        help="After how many requests a worker is replaced by a fresh one; 0 means never.  It contains the damage of "
        "an application that leaks memory.",
    )
    max_requests_jitter: int = setting(
        0,
        integer(0, 10**9),
        help="The largest number of requests that is added to max_requests, at random for each worker, so that they "
        "are not all replaced at once.  It has a meaning only with max_requests.",
    )
    max_worker_age: float = setting(
        0.0,
        duration("0", "8760h"),
        help="After what time a worker is replaced by a fresh one; 0 means never.  Whatever the reason for a "
        "replacement, the fresh worker is ready before the old one is told to go, which answers what it has begun; and "
        "workers are replaced one at a time.",
    )
    max_worker_age_jitter: float = setting(
        0.0,
        duration("0", "8760h"),
        help="The longest time that is added to max_worker_age, at random for each worker, so that they do not become "
        "old together.  It has a meaning only with max_worker_age.",
    )
    max_worker_memory: int = setting(
        0,
        size("0", "1TB"),
        help="A worker that has more than this in memory (RSS, as ps shows it: what it shares with others is "
        "counted too) is replaced by a fresh one, and answers what it has begun; 0 means never.  It is looked at once "
        "a second, where the system tells (Linux).",
    )
    max_worker_memory_hard: int = setting(
        0,
        size("0", "1TB"),
        help="A worker that has more than this in memory is ended at once, with the requests that it has begun, and "
        "the log has the stacks of its threads; 0 means never.  It protects the machine from a single request that "
        "takes all memory; give it a good deal more than max_worker_memory.",
    )
    preload_app: bool = setting(
        True,
        boolean(),
        flags=("--preload",),
        help="Import the application once and fork all workers from there: they start in milliseconds and share its "
        "memory.  Switch it off for an application that starts threads or opens connections while it is imported; "
        "then every worker imports it for itself.  A reload brings new code either way.",
    )
    tune_gc: bool = setting(
        True,
        boolean(),
        help="Suit Python's garbage collector to a server: what the import has made is left out of its search and "
        "stays shared between workers, and it looks for new garbage after 10,000 new objects instead of 700 (2,000 "
        "from Python 3.13 on).  An application that sets thresholds of its own keeps them.  Switch it off to leave "
        "the collector alone.",
    )


@dataclass(frozen=True)
class Timeouts:
    """How long each thing may take.  Slow clients, slow applications and idle connections have limits of their own."""

    timeout: float = setting(
        "30s",
        duration("0", "24h"),
        flags=("-t", "--timeout"),
        help="A worker that shows no sign of life for so long is killed and replaced; 0 means never.  In a sync "
        "worker that is a request that takes longer: raise it for an application with long requests.  In an asgi "
        "or tornado worker it is code that holds up the event loop.",
    )
    graceful_timeout: float = setting(
        "30s",
        duration("0", "24h"),
        default_text="`30s`; with profile development `3s`",
        help="How long a worker may go on with its running requests when the server stops or reloads; after that it "
        "is killed.  0 means that it is killed at once.",
    )
    boot_timeout: float = setting(
        "60s",
        duration("1ms", "24h"),
        help="How long the application may take to be imported and to become ready.  An import that hangs is given "
        "up after that time.",
    )
    keepalive: float = setting(
        "75s",
        duration("0", "24h"),
        flags=("--keep-alive",),
        help="How long an idle connection is kept for the next request; 0 closes it after each response.  Let it be "
        "longer than the same time in the load balancer in front, which is 60 seconds in most of them: otherwise the "
        "server may close a connection at the very moment at which the load balancer sends a request on it.",
    )
    head_timeout: float = setting(
        "10s",
        duration("1ms", "24h"),
        help="How long a client may take to send the whole head of a request, from its first byte.",
    )
    body_timeout: float = setting(
        "30s",
        duration("1ms", "24h"),
        help="The longest silence of a client while it sends the body of a request; then it is answered 408.",
    )
    write_timeout: float = setting(
        "30s",
        duration("1ms", "24h"),
        help="The longest time in which a client takes nothing of its response; after that the connection is closed.",
    )
    min_data_rate: int = setting(
        240,
        size("0", "1GB"),
        help="How many bytes a second a client has to send of a body, or to take of a finished response, on average "
        "and beginning after body_timeout or write_timeout; 0 asks for nothing.  Without it, a byte now and then would "
        "keep a connection open for ever.  A head needs no rate: head_timeout is for the whole of it.",
    )


@dataclass(frozen=True)
class Limits:
    """How much a client may send, how many may come, and how much is kept for them.

    What is refused for its size is answered and then listened to for a while longer, so that the client, which may
    still be sending, reads the answer instead of a reset."""

    limit_request_line: int = setting(
        8190,
        size("64", "64KB"),
        help="The longest request line in bytes: method, target and version.  Longer ones are answered 414.",
    )
    limit_request_fields: int = setting(
        100,
        integer(1, 32768),
        help="The largest number of header fields in a request.  More are answered 431.",
    )
    limit_request_field_size: int = setting(
        8190,
        size("64", "1MB"),
        help="The longest header field in bytes, name and value together.  Longer ones are answered 431.  Raise it "
        "when large cookies or Kerberos tickets are refused.",
    )
    limit_request_head: int = setting(
        "64KB",
        size("256", "16MB"),
        help="The largest head of a request in bytes: its request line and all of its header fields.  Larger ones are "
        "answered 431.",
    )
    limit_request_body: int = setting(
        "1GB",
        size("0", "1TB"),
        help="The largest body of a request in bytes.  Larger ones are answered 413: at once when the client tells the "
        "length beforehand, else as soon as they are too large.  With flask serve, MAX_CONTENT_LENGTH replaces the "
        "default.  0 allows no body.",
    )
    limit_request_trailers: int = setting(
        "8KB",
        size("0", "1MB"),
        help="The largest trailer section of a chunked body in bytes.  Larger ones are answered 431, as are more "
        "trailers than limit_request_fields.  0 allows none.",
    )
    limit_chunk_extensions: int = setting(
        "16KB",
        size("0", "1MB"),
        help="How many bytes of chunk extensions, which mean nothing to anybody, one body may have.  More are answered "
        "400; 0 allows none.",
    )
    keepalive_requests: int = setting(
        0,
        integer(0, 10**9),
        help="How many requests are answered on one connection before it is closed; 0 means any number.  Behind a load "
        "balancer it spreads long-lived connections over the workers anew.",
    )
    worker_connections: int = setting(
        16384,
        integer(1, 10**6),
        help="How many clients one worker keeps connections to.  When there are more, those that have been waiting for "
        "their client the longest are closed; only when all of them are in the middle of something does "
        "full_policy decide.  The limit of open files is raised for it as far as the system allows.",
    )
    full_policy: str = setting(
        "wait",
        choice("wait", "refuse"),
        help="What becomes of a new client of a worker whose connections are all busy.  wait: it stays in the queue of "
        "the listening socket, where another worker may find it.  refuse: it is answered 503 with Retry-After (with "
        "certfile its connection is closed at once: an answer would need the handshake first).  While "
        "all threads are in the application, nobody looks at new clients, and they wait in either case.",
    )
    body_buffer_size: int = setting(
        "32MB",
        size("0", "1GB"),
        help="Request bodies up to this size in bytes wait in memory for the application, larger ones in a temporary "
        "file; 0 sends all of them to a file.  limit_buffer_memory is for all of them together.",
    )
    response_buffer_size: int = setting(
        "1MB",
        size("0", "1GB"),
        help="What a slow client has not yet taken of its response is kept in memory up to this size in bytes, then in "
        "a temporary file; 0 sends all of it to a file.",
    )
    response_file_size: int = setting(
        "64MB",
        size("0", "1TB"),
        help="How large that temporary file may become, in bytes; beyond it the application waits for the client, "
        "while another thread takes its place: with sync still only one of them runs the application.  0 means that no "
        "file is used.",
    )
    limit_buffer_memory: int = setting(
        "128MB",
        size("0", "1TB"),
        help="How much memory the bodies and responses that wait in one worker may have together, in bytes.  Beyond "
        "it, further ones go to temporary files whatever their size; with 0 all of them do.",
    )
    limit_temp_space: int = setting(
        "8GB",
        size("0", "1PB"),
        help="How much space the temporary files of one worker may have together, in bytes.  Beyond it, a body that "
        "needs a file is answered 503 with Retry-After, and so is each body that is larger than this, whatever "
        "limit_request_body says.  Responses have a sixteenth of it; beyond that the application waits for the "
        "client.  0 allows no temporary files.",
    )
    tmp_upload_dir: str | None = setting(
        None,
        optional(path(metavar="DIRECTORY")),
        default_text="that of the system: TMPDIR, or /tmp",
        help="The directory for the temporary files of bodies and responses.",
    )


@dataclass(frozen=True)
class Tls:
    """Encryption: with a certificate all addresses speak https, TLS 1.2 and newer, but for those of `bind` that begin
    with http://.  They offer http/1.1 by ALPN.

    The files are read before `user` is taken on: the key may belong to root alone.  They are looked at once a second,
    and when they have changed and can be used, new connections get what is in them now, without a reload."""

    certfile: str | None = setting(
        None,
        optional(path(), if_empty=NO_FILE),
        flags=("--certfile", "--cert"),
        default_text="none: plain HTTP",
        help="The file with the certificate of the server and those that vouch for it, in PEM form, as certificate "
        "authorities hand them out (fullchain.pem).  adhoc, for development only, means a certificate that the server "
        "makes for itself, for localhost, 127.0.0.1, ::1 and the hosts of bind; it needs the package cryptography.  A "
        "browser asks once whether to trust it: it is kept for its 30 days, readable by its user alone, in "
        "~/.cache/prefork-serve (or below XDG_CACHE_HOME).",
    )
    keyfile: str | None = setting(
        None,
        optional(path(), if_empty=NO_FILE),
        flags=("--keyfile", "--key"),
        default_text="`certfile`, which then holds the key too",
        help="The file with the key of the certificate, in PEM form.",
    )
    keyfile_password: str | None = setting(
        None,
        optional(secret(1024)),
        default_text="none: the key is not encrypted",
        help="The password of an encrypted key.  Give it as SERVE_KEYFILE_PASSWORD in the environment rather than on "
        "the command line, which all users of the machine can read.  No message and no list shows it.",
    )
    ssl_minimum_version: str = setting(
        "TLSv1.2",
        choice("TLSv1.2", "TLSv1.3"),
        help="The oldest version of TLS that a client may speak.  TLSv1.3 shuts out what was made before 2018.",
    )
    ciphers: str = setting(
        "ECDHE+AESGCM:ECDHE+CHACHA20",
        text("list of ciphers", "CIPHERS"),
        help="The ciphers for clients that speak TLS 1.2, as a list of OpenSSL.  The default are those that have "
        "forward secrecy and no known weakness.  TLS 1.3 has ciphers of its own, which are all good, and takes none "
        "from here.",
    )
    sni_certificates: tuple[tuple[str, str, str], ...] = setting(
        "",
        certificates_by_name(),
        flags=("--sni-certificate",),
        default_text="none: everybody gets `certfile`",
        help="Further certificates for clients that come for other names (SNI): example.org=org.pem, or "
        "example.org=org.pem:org-key.pem with the key in a file of its own.  *.example.org stands for the names below "
        "it, one part longer.  Who comes for another name, or says none, gets certfile.",
    )
    ca_certs: str | None = setting(
        None,
        optional(path(), if_empty=NO_FILE),
        default_text="none",
        help="The file with the certificates, in PEM form, of the authorities that vouch for clients, see cert_reqs.",
    )
    cert_reqs: str = setting(
        "none",
        choice("none", "optional", "required", numbered=True),
        help="Whether clients show a certificate: none does not ask for one, optional asks and verifies it, required "
        "ends the handshake with those that have none; Gunicorn's 0, 1 and 2 mean the same.  The application finds it "
        "in the environ by the names of mod_ssl: SSL_CLIENT_VERIFY is SUCCESS or NONE, SSL_CLIENT_S_DN says whose it "
        "is, SSL_CLIENT_I_DN who has signed it; also SSL_CLIENT_M_SERIAL, SSL_CLIENT_V_START, SSL_CLIENT_V_END and "
        "SSL_CLIENT_CERT, all of it in PEM form.  Behind a proxy that speaks https to this server it is the proxy's.",
    )

    ssl_context: str | None = setting(
        None,
        optional(
            matching(
                r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*",
                "function",
                "MODULE:FUNCTION",
                "is no function: write module:function",
            )
        ),
        default_text="none",
        help="A function of the project that has the last word on how TLS is spoken, as in Gunicorn: "
        "function(settings, default_ssl_context_factory) returns an ssl.SSLContext, usually the one that the factory "
        "makes, with something changed.  It is called for each certificate when the application is loaded, by the "
        "account that serves, and by each worker when a certificate is renewed.",
    )
    redirect_bind: tuple[Binding, ...] = setting(
        "",
        list_of(address(), "list of addresses"),
        default_text="none",
        help="Addresses, written as in bind, where plain HTTP is spoken and every request is sent to https: "
        "http://0.0.0.0 stands for port 80 of the machine.  The answer is 308, with the host of the request and, if "
        "it is not 443, the port of the first address of bind that speaks https.  The application hears nothing of it.",
    )

    @property
    def has_files(self) -> bool:
        """Is there a certificate that somebody else has made?"""
        return self.certfile is not None and not self.is_adhoc

    @property
    def is_adhoc(self) -> bool:
        """Does the server make its certificate itself?"""
        return self.certfile == ADHOC

    @property
    def scheme(self) -> str:
        """That of addresses that do not say it themselves."""
        return "http" if self.certfile is None else "https"


@dataclass(frozen=True)
class Proxy:
    """Which proxies are believed when they say who the client is.

    A client can send the same header fields as a proxy, so nobody is believed unless named here."""

    forwarded_allow_ips: tuple[Network, ...] = setting(
        "",
        networks(),
        env={"FORWARDED_ALLOW_IPS": "{}"},
        default_text="nobody",
        help="The proxies whose word counts for the client's address and scheme: addresses and networks such as "
        "10.0.0.0/8, or * for everyone.  The peer on a unix socket is believed as soon as anybody is named: who may "
        "connect there is said by socket_mode.  Of several addresses in X-Forwarded-For the last that is not one of "
        "these proxies is the client's.  Use * only where no client can reach this server but through the proxy; then "
        "the last address counts, which that proxy has added (or see forwarded_hops).  What others say does not "
        "reach the application; the log tells it once for each worker.",
    )
    forwarded_header: str = setting(
        "x-forwarded",
        choice("x-forwarded", "forwarded"),
        help="The header fields that these proxies set: x-forwarded for X-Forwarded-For and X-Forwarded-Proto, or "
        "forwarded for the field of RFC 7239.  The other does not reach the application: a proxy passes it on as the "
        "client sent it.",
    )
    forwarded_hops: int = setting(
        0,
        integer(0, 32),
        help="How many proxies stand one behind the other in front of this server, when their addresses are not known: "
        "so many entries are believed, counted from the last; a request with fewer of them tells nothing.  The nearest "
        "proxy has to be named in forwarded_allow_ips, or * there.  0 goes by the addresses in forwarded_allow_ips.",
    )
    secure_scheme_headers: tuple[tuple[str, str], ...] = setting(
        "X-Forwarded-Proto: https",
        pairs("header", "NAME: VALUE", forbidden=COMMON_FIELDS),
        flags=("--secure-scheme-header",),
        help="The header fields, with their values, by which a proxy that sets x-forwarded fields says that the client "
        "came by https.  Give all that your proxy sets; when they contradict each other the request is answered 400.",
    )
    proxy_protocol: str = setting(
        "off",
        choice("off", "v1", "v2", "any"),
        help="Whether the proxies named in proxy_allow_ips begin each connection with the PROXY protocol, and in which "
        "version.  They then have to; everybody else is served without it.",
    )
    proxy_allow_ips: tuple[Network, ...] = setting(
        "",
        networks(),
        default_text="nobody",
        help="The proxies that speak the PROXY protocol: addresses and networks, or * for everyone.  What they say "
        "replaces the address of the peer.",
    )
    proxy_early_hints: bool = setting(
        False,
        boolean(),
        help="Send early hints of the application (wsgi.early_hints, answers 103) to proxies too: to the peers that "
        "forwarded_allow_ips names, and on unix sockets.  Leave it off unless the proxy understands them: nginx before "
        "1.29 takes them for the answer, and its client waits in vain.  Others always get them.",
    )


@dataclass(frozen=True)
class Asgi:
    """What is only for the worker class asgi: its event loop, the application's lifespan, websockets."""

    asgi_loop: str = setting(
        "auto",
        choice("auto", "asyncio", "uvloop"),
        help="The event loop: asyncio is Python's own, uvloop is a faster one and needs the package of that name, auto "
        "takes uvloop where it is installed.",
    )
    asgi_lifespan: str = setting(
        "auto",
        choice("auto", "on", "off"),
        help="Whether the application is told of the start and the end of its worker: on insists on it, off does not "
        "try, auto goes on without when the application raises an exception instead of an answer, as those do that "
        "know no lifespan.  A startup that fails refuses the start or the reload, like code that cannot be imported.",
    )
    websocket_max_message_size: int = setting(
        "16MB",
        size("1", "1GB"),
        help="The largest message that a client may send on a websocket, in bytes; a larger one closes it with the "
        "code 1009.",
    )


@dataclass(frozen=True)
class Responses:
    """What the server itself adds to responses."""

    server_header: str | None = setting(
        "prefork-serve",
        optional(
            matching(r"[!-~][ -~]*", "text in ASCII", "TEXT", "has a character that cannot stand in a header field")
        ),
        help="The Server field of every response, unless the application sets its own; empty means none.",
    )


@dataclass(frozen=True)
class Process:
    """As whom the server runs, and how it can be found among other processes."""

    user: str | int | None = setting(
        None,
        optional(account("user")),
        flags=("-u", "--user"),
        default_text="unchanged",
        help="The user to become, by name or number, before the application is imported.  The server has to be "
        "started by root for that.",
    )
    group: str | int | None = setting(
        None,
        optional(account("group")),
        flags=("-g", "--group"),
        default_text="unchanged, or that of `user`",
        help="The group to become, by name or number, before the application is imported.",
    )
    umask: int | None = setting(
        None,
        optional(octal_mode("027")),
        flags=("-m", "--umask"),
        default_text="unchanged",
        help="The permissions, in octal, that files of the application and the server never get: with 027 others may "
        "not read them.  For the mode of unix sockets see socket_mode.",
    )
    touch_reload: tuple[str, ...] = setting(
        "",
        list_of(path(), "list of paths"),
        flags=("--touch-reload",),
        default_text="none",
        help="Files that are touched (or made, or replaced) to have the application loaded anew, as HUP does it; they "
        "are looked at once a second.  It serves those who may write a file and send no signal.",
    )
    pidfile: str | None = setting(
        None,
        optional(path()),
        flags=("-p", "--pid"),
        default_text="none",
        help="The file that holds the process number of the server while it runs.",
    )
    proc_name: str | None = setting(
        None,
        optional(text("text", "NAME")),
        flags=("-n", "--name"),
        default_text="the name of the application",
        help="The name of this server in the titles of its processes, as ps and top show them.  Give one when "
        "several servers run the same application.",
    )


@dataclass(frozen=True)
class Logs:
    """What is written down, in which form, and where."""

    accesslog: str | None = setting(
        None,
        optional(path()),
        flags=("--access-logfile",),
        default_text="none: requests are not logged",
        help="The file that gets a line for every request; - means standard output.",
    )
    access_log_format: str = setting(
        ACCESS_LOG_FORMAT,
        text("text", "FORMAT"),
        flags=("--access-logformat",),
        default_text="Apache's combined format: `" + ACCESS_LOG_FORMAT + "`; with profile development, on standard "
        "output, `dev`",
        help="The form of a line of the access log; dev stands for a short line for people: method, path, status, "
        "duration, and with Django in debug mode the queries.  The names in brackets are Gunicorn's: h is the client's "
        "address, t the time, r the request line, s the status, b the size of the response, f the referrer, a the user "
        "agent, L the time taken in seconds.",
    )
    log_timezone: str | None = setting(
        None,
        optional(text("name of a time zone", "ZONE")),
        default_text="that of the system; Django's TIME_ZONE",
        help="The time zone of the times in both logs, such as Europe/Berlin or UTC.",
    )
    color: str = setting(
        "auto",
        choice("auto", "always", "never"),
        help="Whether lines for people have colours: auto means on a terminal, unless NO_COLOR is set.",
    )
    errorlog: str = setting(
        "-",
        path(),
        flags=("--error-logfile", "--log-file"),
        default_text="`-`, standard error",
        help="The file that gets what the server has to say: starts, stops, reloads and errors; - means standard "
        "error.",
    )
    loglevel: str = setting(
        "info",
        choice("debug", "info", "warning", "error", "critical"),
        flags=("--log-level",),
        help="The least important kind of message that is still written to the error log.",
    )
    syslog: bool = setting(
        False,
        boolean(),
        flags=("--log-syslog",),
        help="Send the messages of both logs to syslog as well.",
    )
    syslog_addr: str = setting(
        "udp://localhost:514",
        matching(
            r"(udp|tcp)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?|unix://[^#]+(#(dgram|stream))?",
            "address of a syslog server",
            "ADDRESS",
            "is not the address of a syslog server: write udp://localhost:514, tcp://host:514 or unix:///dev/log",
        ),
        flags=("--log-syslog-to",),
        help="Where syslog listens: udp://HOST:PORT, tcp://HOST:PORT or unix://PATH, the latter also with #dgram or "
        "#stream at its end to choose the kind of socket.",
    )
    syslog_prefix: str | None = setting(
        None,
        optional(text("text", "NAME")),
        flags=("--log-syslog-prefix",),
        default_text="the name of the server, see `proc_name`",
        help="The program name in the lines that go to syslog.",
    )
    syslog_facility: str = setting(
        "user",
        choice(*SYSLOG_FACILITIES),
        flags=("--log-syslog-facility",),
        help="The facility under which syslog files the lines.",
    )


@dataclass(frozen=True)
class Development:
    """What helps while the code is being written, and has no place in production."""

    reload: bool = setting(
        False,
        boolean(),
        default_text="`false`; with profile development `true`",
        help="Load the application anew whenever one of its files changes.",
    )
    debugger: bool = setting(
        True,
        boolean(),
        help="In development, let the framework's debugger show errors of the application: Werkzeug's, with its PIN, "
        "for Flask.  Django's error page is the framework's own and is not meant.",
    )
    open_browser: bool = setting(
        False,
        boolean(),
        flags=("--open",),
        help="Open the first address in the browser as soon as the server serves.",
    )
    reload_engine: str = setting(
        "auto",
        choice("auto", "watchfiles", "poll"),
        help="How changes are noticed: watchfiles is told by the system and needs the package of that name, poll looks "
        "at every file about twice a second, auto takes watchfiles where it is installed.",
    )
    reload_extra_files: tuple[str, ...] = setting(
        "",
        list_of(path(), "list of paths"),
        flags=("--reload-extra-file",),
        default_text="none",
        help="Further files to watch besides the modules of the application, such as templates or a file of settings.",
    )
    reload_include: tuple[str, ...] = setting(
        "",
        list_of(pattern(), "list of patterns"),
        default_text="none",
        help="Patterns for further files to watch, in quotes, or the shell replaces them.  '*.txt' and 'docs/' mean "
        "files and directories of that name anywhere in the project; 'data/*.json' and './docs/' are paths from the "
        "working directory or another one that is watched, '/srv/shared/**/*.py' is one from the root.  A directory "
        "means all that is in it.  *, ? and [ab] stand for characters of one name, but not for a dot at its beginning, "
        "and ** for any directories.  A directory that is ignored otherwise (hidden, node_modules, a virtual "
        "environment) has to be written out, with its slash: '.github/'.",
    )
    reload_exclude: tuple[str, ...] = setting(
        "",
        list_of(pattern(), "list of patterns"),
        default_text="none",
        help="Patterns for files not to watch, written as for reload_include, which gives way to them; but here * and "
        "? stand for the dot of a hidden name too.  Files that reload_extra_files names are watched anyway.",
    )


@dataclass(frozen=True)
class Settings:
    """All settings, one attribute for each section.  A part of the server is given the section that it needs."""

    application: Application = field(default_factory=Application)
    profile: Profile = field(default_factory=Profile)
    paths: Paths = field(default_factory=Paths)
    sockets: Sockets = field(default_factory=Sockets)
    workers: Workers = field(default_factory=Workers)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    tls: Tls = field(default_factory=Tls)
    proxy: Proxy = field(default_factory=Proxy)
    asgi: Asgi = field(default_factory=Asgi)
    responses: Responses = field(default_factory=Responses)
    process: Process = field(default_factory=Process)
    logs: Logs = field(default_factory=Logs)
    development: Development = field(default_factory=Development)

    def scheme_of(self, binding: Binding) -> str:
        """What is spoken on an address: "http", or "https" for HTTP by TLS."""
        return binding.scheme or self.tls.scheme

    @property
    def speaks_tls(self) -> bool:
        """Is TLS spoken on any address?"""
        return any(self.scheme_of(binding) == "https" for binding in self.sockets.bind)
