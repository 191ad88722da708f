"""The order of reading, which is the order of import: a module may import only modules before it.

``READING_ORDER`` is also the table of contents for a newcomer.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("server_core", "django_serve", "flask_serve")

READING_ORDER = """
server_core
server_core.errors

server_core.config
server_core.config.bindings
server_core.config.patterns
server_core.config.values
server_core.config.cpus
server_core.config.declare
server_core.settings
server_core.config.schema
server_core.config.hints
server_core.config.rules
server_core.config.layers
server_core.config.translation
server_core.config.environment
server_core.config.files
server_core.config.manual
server_core.config.options
server_core.config.arguments

server_core.http
server_core.http.head
server_core.http.fields
server_core.http.policy
server_core.http.framing
server_core.http.guard
server_core.http.forwarded
server_core.http.proxy_protocol
server_core.http.response
server_core.http.ranges
server_core.http.pages
server_core.http.location

server_core.exchange
server_core.console
server_core.process
server_core.signals
server_core.scoreboard
server_core.holders
server_core.listeners
server_core.certificates
server_core.shelf
server_core.tls
server_core.adhoc
server_core.logs
server_core.access_log

server_core.gateway
server_core.gateway.findings
server_core.gateway.inspection
server_core.gateway.dotenv
server_core.gateway.loader
server_core.gateway.tls_hook
server_core.gateway.environ
server_core.gateway.mount
server_core.gateway.warmup
server_core.gateway.static_files
server_core.gateway.static
server_core.gateway.leftovers
server_core.gateway.wsgi
server_core.gateway.interface
server_core.gateway.calls
server_core.gateway.asgi
server_core.gateway.bridge
server_core.gateway.warmup_asgi

server_core.engine
server_core.engine.poller
server_core.engine.budget
server_core.engine.spool
server_core.engine.outbox
server_core.engine.site
server_core.engine.outlet
server_core.engine.proxies
server_core.engine.screen
server_core.engine.connection
server_core.engine.transport
server_core.engine.peer
server_core.engine.redirect
server_core.engine.screened
server_core.engine.secure
server_core.engine.clients
server_core.engine.acceptor
server_core.engine.engine
server_core.engine.crew
server_core.engine.places
server_core.engine.watcher
server_core.engine.threaded
server_core.engine.green

server_core.asgi
server_core.asgi.outlet
server_core.asgi.secure
server_core.asgi.connection
server_core.asgi.screened
server_core.asgi.greeting
server_core.asgi.service
server_core.asgi.library

server_core.tornado
server_core.tornado.stream
server_core.tornado.call
server_core.tornado.library

server_core.workers
server_core.workers.post
server_core.workers.sync
server_core.workers.gthread
server_core.workers.gevent
server_core.workers.eventlet
server_core.workers.asgi
server_core.workers.tornado

server_core.testing
server_core.pytest_plugin

server_core.contract
server_core.contract.application
server_core.contract.trial
server_core.contract.promises
server_core.contract.__main__

server_core.arbiter
server_core.arbiter.plan
server_core.arbiter.orders
server_core.arbiter.reports
server_core.arbiter.boot
server_core.arbiter.children
server_core.arbiter.judge
server_core.arbiter.recycling
server_core.arbiter.touch
server_core.arbiter.faults
server_core.arbiter.autoreload
server_core.arbiter.renewal
server_core.arbiter.arbiter
server_core.arbiter.forkserver

server_core.reload
server_core.reload.scope
server_core.reload.watcher
server_core.reload.watch
server_core.reload.standin
server_core.reload.browser
server_core.reload.masking
server_core.reload.code_masking
server_core.reload.tracebacks
server_core.reload.sources
server_core.reload.broken_report
server_core.reload.broken_page
server_core.reload.broken

server_core.server
server_core.reference
server_core.launch
server_core.cli
server_core.__main__

django_serve
django_serve.translations
django_serve.layer
django_serve.checks
django_serve.limit
django_serve.apps
django_serve.development
django_serve.inspection
django_serve.loader
django_serve.management

django_serve.management.commands
django_serve.management.commands.serve
django_serve.manage
django_serve.__main__
django_serve.testing

flask_serve
flask_serve.translations
flask_serve.inspection
flask_serve.debugger
flask_serve.loader
flask_serve.command
""".split()

#: the pure floors: bytes and values only
PURE = [
    "server_core.errors",
    "server_core.settings",
    *(name for name in READING_ORDER if name.startswith(("server_core.http", "server_core.config"))),
    "server_core.arbiter.plan",
    "server_core.reload.masking",
    "server_core.reload.code_masking",
    "server_core.reload.tracebacks",
]
IMPURE_MODULES = {"socket", "ssl", "threading", "logging", "time", "select", "subprocess", "signal", "multiprocessing"}
#: a table of signals needs their names
ALLOWED_IMPURITY = {("server_core.arbiter.plan", "signal")}

#: what is not required, or not ours to know everywhere, is imported in exactly these files
ONLY_IN = {
    "watchfiles": {"server_core.reload.watcher"},
    "pytest": {"server_core.pytest_plugin"},
    "whitenoise": {"server_core.gateway.static_files"},
    "setproctitle": {"server_core.process"},
    "greenlet": {"server_core.engine.green"},
    "gevent": {"server_core.workers.gevent"},
    "eventlet": {"server_core.workers.eventlet"},
    "cryptography": {"server_core.adhoc"},
    "ssl": {"server_core.tls", "server_core.engine.transport", "server_core.engine.peer", "server_core.asgi.secure"},
    "argparse": {"server_core.config.arguments", "django_serve.management.commands.serve", "django_serve.manage"},
    "werkzeug": {"flask_serve.debugger"},
    "uvicorn": {"server_core.asgi.library"},
    "uvloop": {"server_core.asgi.library"},
    # streams, requests and the loop are each a thing of their own
    "tornado": {"server_core.tornado.stream", "server_core.tornado.call", "server_core.tornado.library"},
}

#: "about 400 lines"
LONGEST = 480
MAY_BE_LONGER = {"server_core.settings": "it is the manual"}


def path_of(module: str) -> Path:
    base = ROOT.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def imports_of(module: str) -> Iterator[str]:
    """All names that a module imports, also inside functions; not what only the type checker imports."""
    yield from _imports(ast.parse(path_of(module).read_text(encoding="utf-8")))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            assert node.module is not None
            yield from (
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in READING_ORDER else node.module
                for alias in node.names
            )
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value)
        yield from _imports(node)


def test_the_reading_order_lists_every_module_once() -> None:
    modules = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    assert sorted(READING_ORDER) == sorted(modules)


@pytest.mark.parametrize("module", READING_ORDER)
def test_imports_only_go_down(module: str) -> None:
    place = READING_ORDER.index(module)
    for name in imports_of(module):
        if name.split(".")[0] in PACKAGES:
            assert name in READING_ORDER, f"{module} imports {name}"
            assert READING_ORDER.index(name) < place, f"{module} imports {name}, which is read later"


@pytest.mark.parametrize("module", READING_ORDER)
def test_the_core_knows_no_framework_and_the_front_doors_not_each_other(module: str) -> None:
    roots = {name.split(".")[0] for name in imports_of(module)}
    allowed = {"django_serve": {"django", "django_serve"}, "flask_serve": {"flask", "flask_serve"}}
    strangers = {"django", "flask", "django_serve", "flask_serve"} - allowed.get(module.split(".")[0], set())
    assert not roots & strangers


@pytest.mark.parametrize("module", PURE)
def test_the_pure_floors_touch_no_socket_clock_thread_or_log(module: str) -> None:
    roots = {name.split(".")[0] for name in imports_of(module)}
    assert not {root for root in roots & IMPURE_MODULES if (module, root) not in ALLOWED_IMPURITY}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_in_one_place(library: str) -> None:
    users = {module for module in READING_ORDER if library in {name.split(".")[0] for name in imports_of(module)}}
    assert users == ONLY_IN[library]


@pytest.mark.parametrize("module", READING_ORDER)
def test_a_file_does_one_thing_and_says_first_what_it_knows(module: str) -> None:
    text = path_of(module).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    if module not in MAY_BE_LONGER:
        assert text.count("\n") <= LONGEST


@pytest.mark.parametrize("module", [name for name in READING_ORDER if name != "server_core.cli"])
def test_nobody_prints_or_exits_below_the_front_doors(module: str) -> None:
    for node in ast.walk(ast.parse(path_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "sys.exit", "exit")


def test_there_is_no_file_of_odds_and_ends() -> None:
    assert not [name for name in READING_ORDER if name.endswith(("utils", "helpers", "common", "misc"))]
