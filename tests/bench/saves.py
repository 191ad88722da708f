"""Knows how long somebody who develops waits: from saving a file to the first answer with what was saved.

    python tests/bench/saves.py [--rounds 3] [--saves 5]

Serves copies of both examples by each development server in turn, started anew in each round, and saves a module and a
template again and again.  While it waits it asks every 10 ms, each time on a new connection, and counts what it should
not get: refused connections, resets, errors.  Before the first save it looks how much processor time and memory a
server takes while nobody does anything.  The servers are those of the environment that runs it; whoever is not
installed there is named and left out.  Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from figures import parse_stat
from processes import members, tree_mb

EXAMPLES = Path(__file__).resolve().parents[2] / "example_projects"
PATIENCE = 30.0
PAUSE = 0.01
REST = 3.0  # seconds until a server watches, and until it has settled after a save
IDLE = 5.0
_TICK = os.sysconf("SC_CLK_TCK")

SHOP, NOTES = "django_shop", "flask_notes"
_MANAGE = (sys.executable, "manage.py")
# One worker, as in every project that does not say otherwise: the examples do.
_SERVE = (*_MANAGE, "serve", "{port}", "--workers", "1")
_PLUS = (*_MANAGE, "runserver_plus", "{port}", "--reloader-type")
_FLASK = (sys.executable, "-m", "flask")
_DEBUG = (*_FLASK, "serve", "--debug", "--bind", "127.0.0.1:{port}", "--workers", "1")
_UVICORN = (sys.executable, "-m", "uvicorn", "--interface", "wsgi", "--port", "{port}", "--reload")


@dataclass(frozen=True)
class Peer:
    """A development server: ``command`` with ``{port}`` in it; ``needs`` are modules that have to be there.

    ``without`` is one that it must not find, because it would use it.
    """

    name: str
    example: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    without: str = ""


#: The first one of each example is what the others are compared with.
PEERS = (
    Peer("manage.py serve", SHOP, _SERVE, ("watchfiles",)),
    Peer("manage.py serve, polling", SHOP, (*_SERVE, "--reload-engine", "poll")),
    Peer("runserver", SHOP, (*_MANAGE, "runserver", "{port}")),
    Peer("runserver_plus", SHOP, (*_PLUS, "stat"), ("django_extensions", "werkzeug")),
    Peer("runserver_plus, watchdog", SHOP, (*_PLUS, "watchdog"), ("django_extensions", "werkzeug", "watchdog")),
    Peer(
        "uvicorn --reload",
        SHOP,
        (*_UVICORN, "--reload-include", "*.html", "shop_site.wsgi:application"),
        ("uvicorn", "watchfiles", "a2wsgi"),
    ),
    Peer("flask serve --debug", NOTES, _DEBUG, ("watchfiles",)),
    Peer("flask serve --debug, polling", NOTES, (*_DEBUG, "--reload-engine", "poll")),
    Peer("flask run --debug", NOTES, (*_FLASK, "run", "--debug", "-p", "{port}"), without="watchdog"),
    Peer("flask run --debug, watchdog", NOTES, (*_FLASK, "run", "--debug", "-p", "{port}"), ("watchdog",)),
)


@dataclass(frozen=True)
class Kind:
    """A kind of file: where one is, what is changed in it, and the page that shows it."""

    name: str
    file: str
    before: str
    after: str
    page: str
    shows: str


_VERSION = ('VERSION = "1"', 'VERSION = "{}"')
_BODY = ("<body>", "<body><!-- saved {} -->", "/", "<!-- saved {} -->")
KINDS = {
    SHOP: (
        Kind("module", "shop/views.py", *_VERSION, "/whoami/", '"version": "{}"'),
        Kind("template", "shop/templates/shop/base.html", *_BODY),
    ),
    NOTES: (
        Kind("module", "notes/views.py", *_VERSION, "/whoami", '"version": "{}"'),
        Kind("template", "notes/templates/base.html", *_BODY),
    ),
}


@dataclass
class Result:
    """What one server did with one kind of file: the seconds of each round's saves, and wrong answers by their kind."""

    rounds: list[list[float]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)


@dataclass
class Rest:
    """What one server takes while nobody does anything, in each round: shares of a processor, and MB."""

    processor: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def ask(port: int, page: str, wrong: Counter[str]) -> str:
    """The body of a page, "" when there is none; what went wrong is counted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status == 200:
            return text
        wrong[str(answer.status)] += 1
    except ConnectionRefusedError:
        wrong["refused"] += 1
    except (OSError, http.client.HTTPException) as error:
        wrong[type(error).__name__] += 1
    finally:
        connection.close()
    return ""


def wait_for(port: int, page: str, words: str, wrong: Counter[str]) -> float:
    """Ask for a page until it shows ``words``; how many seconds that took.  Raises TimeoutError."""
    began = time.monotonic()
    while words not in ask(port, page, wrong):
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError(f"{page} never showed {words}: {dict(wrong)}")
        time.sleep(PAUSE)
    return time.monotonic() - began


@contextmanager
def serving(peer: Peer, folder: Path) -> Iterator[tuple[int, int]]:
    """Port and process of a server that serves its example and watches."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    environ = os.environ | {"DJANGO_DEBUG": "1", "PYTHONUNBUFFERED": "1"}
    if peer.without:
        environ["PYTHONPATH"] = str(hide(peer.without, folder))
    process = subprocess.Popen(
        [part.format(port=port) for part in peer.command], cwd=folder / peer.example, env=environ,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(port, KINDS[peer.example][0].page, "version", Counter())
        time.sleep(REST)
        yield port, process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def hide(module: str, folder: Path) -> Path:
    """A directory that makes ``import module`` fail for whoever has it on the path."""
    place = folder / "hidden"
    place.mkdir(exist_ok=True)
    (place / f"{module}.py").write_text("raise ImportError\n")
    return place


def processor_seconds(server: int) -> float:
    """What the living processes of a server have taken so far."""
    return sum(parse_stat(Path(f"/proc/{pid}/stat").read_text()).ticks for pid in members(server)) / _TICK


def look(server: int, rest: Rest) -> None:
    """How much a server takes at rest."""
    before = processor_seconds(server)
    time.sleep(IDLE)
    rest.processor.append((processor_seconds(server) - before) / IDLE)
    rest.memory.append(tree_mb(server))


def save(kind: Kind, project: Path, port: int, saves: int, result: Result) -> None:
    """Save one file again and again; in the end it is what it was."""
    file = project / kind.file
    original = file.read_text()
    seconds = []
    for number in range(saves):
        time.sleep(1 + random.random())  # who polls must not be met at the same moment each time
        wait_for(port, kind.page, "", Counter())  # a template is kept in memory from its first use on
        mark = f"{len(result.rounds)}-{number}"
        file.write_text(original.replace(kind.before, kind.after.format(mark)))
        seconds.append(wait_for(port, kind.page, kind.shows.format(mark), result.wrong))
    result.rounds.append(seconds)
    file.write_text(original)
    time.sleep(REST)


def prepare(folder: Path) -> None:
    """Copies of both examples, with goods in the shop."""
    leftovers = shutil.ignore_patterns("*.sqlite3*", "__pycache__", "media", "staticfiles", "instance")
    for name in (SHOP, NOTES):
        shutil.copytree(EXAMPLES / name, folder / name, ignore=leftovers)
    if importlib.util.find_spec("django_extensions"):
        with (folder / SHOP / "shop_site" / "settings.py").open("a") as file:
            file.write('\nINSTALLED_APPS += ["django_extensions"]\n')
    for command in ("migrate", "seed"):
        subprocess.run([*_MANAGE, command, "--verbosity", "0"], cwd=folder / SHOP, check=True, stdout=sys.stderr)


def saves_table(results: dict[Peer, Result]) -> str:
    """Markdown.  A ratio is the median of the rounds' ratios: the machine drifts between rounds more than in one."""
    ours = next(iter(results.values()))
    lines = ["median | fastest to slowest | ratio | wrong answers |", "---: | ---: | ---: | --- |"]
    for result in results.values():
        times = [1000 * seconds for group in result.rounds for seconds in group]
        ratio = median(median(b) / median(a) for a, b in zip(ours.rounds, result.rounds, strict=True))
        wrong = ", ".join(f"{count} {what}" for what, count in sorted(result.wrong.items())) or "none"
        lines.append(f"{median(times):.0f} ms | {min(times):.0f} to {max(times):.0f} ms | {ratio:.2f} | {wrong} |")
    return with_names(results, lines)


def rest_table(rests: dict[Peer, Rest]) -> str:
    """Markdown."""
    lines = ["processor | memory |", "---: | ---: |"]
    lines += [f"{100 * median(rest.processor):.1f} % | {median(rest.memory):.0f} MB |" for rest in rests.values()]
    return with_names(rests, lines)


def with_names(peers: dict[Peer, Result] | dict[Peer, Rest], lines: Sequence[str]) -> str:
    names = ["", "---", *(peer.name for peer in peers)]
    return "\n".join(f"| {name} | {line}" for name, line in zip(names, lines, strict=True))


def installed() -> list[Peer]:
    """Those that can be measured here."""
    found = []
    for peer in PEERS:
        missing = [name for name in peer.needs if importlib.util.find_spec(name) is None]
        if missing:
            print(f"{peer.name} is left out: {', '.join(missing)} is not installed", file=sys.stderr)
        else:
            found.append(peer)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--saves", type=int, default=5, help="of each kind of file, in each round")
    options = parser.parse_args()
    peers = installed()
    results = {
        kind: {peer: Result() for peer in peers if kind in KINDS[peer.example]} for kind in sum(KINDS.values(), ())
    }
    rests = {peer: Rest() for peer in peers}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for number in range(options.rounds):
            for peer in peers:
                print(f"round {number + 1}: {peer.name}", file=sys.stderr, flush=True)
                with serving(peer, folder) as (port, server):
                    look(server, rests[peer])
                    for kind in KINDS[peer.example]:
                        save(kind, folder / peer.example, port, options.saves, results[kind][peer])
    for example, kinds in KINDS.items():
        for kind in kinds:
            print(f"\n{example}, a {kind.name} saved\n\n{saves_table(results[kind])}")
    print(f"\nat rest\n\n{rest_table(rests)}")


if __name__ == "__main__":
    main()
