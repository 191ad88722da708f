"""An address in use: the refusal names who has it and where one can listen instead, and shows nobody's secrets."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from scenes import NO_BYTE_CODE, end_of

from server_core.config.bindings import Binding
from server_core.errors import StartError
from server_core.holders import SHOWN_CHARACTERS, Holder, careful, command, holder_of_path, holder_of_port
from server_core.listeners import open_listener

if sys.platform != "linux":
    pytest.skip("who listens where is known on Linux only", allow_module_level=True)

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
COMMAND = [sys.executable, "-m", "server_core"]
NOBODY, SOMEBODY = 65534, 54321

# Listens on its first argument, HOST PORT or PATH, tells the port in a line, and ends with its standard input.
LISTEN = """
import os, socket, sys
where = sys.argv[1]
host, _, port = where.rpartition(" ")
if os.environ.get("BECOME"):
    os.setuid(int(os.environ["BECOME"]))
if not port.isdigit():
    host = ""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("\\0" + where[1:] if where[0] == "@" else where)
else:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((host, int(port)))
sock.listen()
for _ in range(int(os.environ.get("CHILDREN", 0))):
    if not os.fork():
        break
else:
    print(sock.getsockname()[1] if host else 0, flush=True)
sys.stdin.read()
"""

Listen = Callable[..., "tuple[int, int]"]
Refuse = Callable[..., str]


def become(user: int) -> dict[str, str]:
    return {**os.environ, "BECOME": str(user)}


def as_somebody(work: Callable[[], str]) -> str:
    """What ``work`` returns in a process of another user.  (It may not read the files of a server of its own.)"""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setuid(SOMEBODY)
            os.write(write, work().encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with open(read) as answer:
        return answer.read()


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """``listen("127.0.0.1 0", ...)`` starts another program that listens; returns its process id and the port."""
    program = tmp_path / "listen.py"
    program.write_text(LISTEN)
    started: list[subprocess.Popen[str]] = []

    def start(where: str, *arguments: str, switches: tuple[str, ...] = (), **options: object) -> tuple[int, int]:
        process = subprocess.Popen(
            [sys.executable, *switches, str(program), where, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        started.append(process)
        assert process.stdout is not None
        return process.pid, int(process.stdout.readline())

    yield start
    for process in started:
        process.communicate()


@pytest.fixture
def refuse(serve: Callable[..., object], tmp_path: Path) -> Refuse:
    """``refuse("127.0.0.1:80")`` is what a server says that cannot listen there, after who cannot listen where."""

    def start(*addresses: str, **options: object) -> str:
        binds = [part for address in addresses for part in ("-b", address)]
        given = {"command": COMMAND, "cwd": tmp_path, "env": NO_BYTE_CODE, "wait": False} | options
        server = serve(*binds, "x:y", **given)
        assert end_of(server) == 1  # type: ignore[arg-type]
        (line,) = server.text.splitlines()  # type: ignore[attr-defined]
        beginning = f"Error: cannot listen on {addresses[-1]} (--bind): "
        assert line.startswith(beginning)
        return str(line.removeprefix(beginning))

    return start


def test_a_busy_port_names_who_holds_it_and_the_next_free_one(listen: Listen, refuse: Refuse) -> None:
    pid, port = listen("127.0.0.1 0", "--password=secret", switches=("-u", "-B"))
    sentence = refuse(f"127.0.0.1:{port}")
    found = re.fullmatch(
        rf"python\S* listen.py 127.0.0.1 0 \(pid {pid}\) listens there already: "
        r"stop it, or take the next free port with --bind 127.0.0.1:(\d+)",
        sentence,
    )
    assert found, sentence
    with socket.create_server(("127.0.0.1", int(found[1]))):
        assert port < int(found[1]) <= port + 100


def test_ports_that_are_taken_too_are_passed_over(listen: Listen, refuse: Refuse) -> None:
    _, port = listen("127.0.0.1 0")
    others = []
    for next_port in range(port + 1, port + 4):
        others.append(socket.socket())
        with suppress(OSError):  # so somebody else has it
            others[-1].bind(("127.0.0.1", next_port))
            others[-1].listen()
    try:
        free = re.search(r"--bind 127.0.0.1:(\d+)$", refuse(f"127.0.0.1:{port}"))
    finally:
        for each in others:
            each.close()
    assert free
    assert int(free[1]) > port + 3


def test_without_a_free_port_none_is_proposed(refuse: Refuse) -> None:
    with socket.create_server(("127.0.0.1", 65535)):
        assert refuse("127.0.0.1:65535").endswith(": stop it, or choose another address")


@pytest.mark.parametrize(
    ("taken", "wanted"),
    [
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "localhost"),
        ("::1", "[::1]"),
        ("::1", "[::]"),
        ("::", "[::1]"),
        ("::", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_whoever_has_the_port_of_all_addresses_is_found_too(
    listen: Listen, refuse: Refuse, taken: str, wanted: str
) -> None:
    pid, port = listen(f"{taken} 0")
    sentence = refuse(f"{wanted}:{port}")
    assert f"(pid {pid}) listens there already" in sentence
    assert f"--bind {wanted}:" in sentence


def test_of_two_who_have_the_port_the_one_that_is_in_the_way_is_named(listen: Listen, refuse: Refuse) -> None:
    pid, port = listen("127.0.0.1 0")
    listen(f"127.0.0.2 {port}")
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", port))
        other.listen()
        assert f"(pid {pid}) listens there already" in refuse(f"127.0.0.1:{port}")


def test_of_a_family_the_parent_is_named(listen: Listen, refuse: Refuse) -> None:
    pid, port = listen("127.0.0.1 0", env={**os.environ, "CHILDREN": "3"})
    assert f"(pid {pid}) listens there already" in refuse(f"127.0.0.1:{port}")


def test_another_prefork_serve_is_named_by_its_title(serve: Callable[..., object], refuse: Refuse) -> None:
    other = serve("-w", "1", "gate:app")
    port = other.address[1]  # type: ignore[attr-defined]
    title = f'"prefork-serve: arbiter [127.0.0.1:{port} gate:app]"'
    beginning = f"another prefork-serve, {title} (pid {other.pid}), listens there already: stop it, or "  # type: ignore[attr-defined]
    assert refuse(f"127.0.0.1:{port}").startswith(beginning)


def test_an_address_that_is_given_twice_is_said_to_be_so(refuse: Refuse, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"unix:{tmp_path}/socket"):
        assert refuse(address, address).startswith("this server listens there itself: name each address once")


def test_a_socket_that_was_inherited_unawares_is_our_own(refuse: Refuse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        sentence = refuse(f"127.0.0.1:{ours.getsockname()[1]}", pass_fds=(ours.fileno(),))
    assert sentence.endswith("name each address once, and a socket that it has inherited as fd://N")


def test_a_command_line_can_do_nothing_to_a_terminal_and_is_cut(listen: Listen, refuse: Refuse) -> None:
    _, port = listen("127.0.0.1 0", "\x1b[31m\n\u202e" + "x" * 100)
    sentence = refuse(f"127.0.0.1:{port}")
    shown = sentence.partition(" (pid ")[0]
    assert "127.0.0.1 0 \\x1b[31m\\n\\u202exxx" in shown
    assert shown.endswith("x...")
    assert len(shown) == SHOWN_CHARACTERS


@NEEDS_ROOT
def test_root_sees_whose_the_process_is(listen: Listen, refuse: Refuse) -> None:
    pid, port = listen("127.0.0.1 0", env=become(NOBODY))
    assert f"(pid {pid}, user nobody) listens there already" in refuse(f"127.0.0.1:{port}")


@NEEDS_ROOT
def test_a_process_of_another_user_is_said_to_be_one(listen: Listen, tmp_path: Path) -> None:
    ports = [listen("127.0.0.1 0", env=become(user))[1] for user in (NOBODY, SOMEBODY + 1)]
    name = f"@prefork-serve-busy-{os.getpid()}"
    listen(name, env=become(NOBODY))
    found = as_somebody(
        lambda: repr([*(holder_of_port("127.0.0.1", port) for port in ports), holder_of_path(name)]),
    )
    words = ["a process of user nobody", "a process of user number 54322", "a process of another user"]
    assert found == repr([Holder(0, each) for each in words])


def test_nobody_is_found_where_nobody_listens(listen: Listen, tmp_path: Path) -> None:
    _, port = listen("127.0.0.2 0")
    assert holder_of_port("127.0.0.1", port) is None
    assert holder_of_port("::1", port) is None
    with socket.create_connection(("127.0.0.2", port)) as client:
        assert holder_of_port(*client.getsockname()) is None  # a connection is no listener
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/socket")  # does not listen
        assert holder_of_path(f"{tmp_path}/socket") is None
    assert holder_of_path("@no-such-name") is None


# -- unix sockets


def test_a_busy_unix_socket_names_who_holds_it(listen: Listen, refuse: Refuse, tmp_path: Path) -> None:
    path = f"{tmp_path}/a socket"
    pid, _ = listen(path, "--token")
    assert re.fullmatch(
        rf"python\S* listen.py a socket \(pid {pid}\) listens there already: stop it, or choose another address",
        refuse(f"unix:{path}"),
    )


def test_a_socket_that_was_bound_by_a_relative_path_is_told_from_others_of_that_name(
    listen: Listen, refuse: Refuse, tmp_path: Path
) -> None:
    pids = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pids[name], _ = listen("socket", cwd=tmp_path / name)
    for name, pid in pids.items():
        assert f"(pid {pid}) listens there already" in refuse(f"unix:{tmp_path}/{name}/socket")
        assert f"(pid {pid}) listens there already" in refuse("unix:socket", cwd=tmp_path / name)


def test_a_name_without_a_file_that_is_in_use_names_who_has_it(listen: Listen, refuse: Refuse) -> None:
    name = f"@prefork-serve-busy-{os.getpid()}"
    pid, _ = listen(name)
    assert f"(pid {pid}) listens there already: stop it, or choose another address" in refuse(f"unix:{name}")


@NEEDS_ROOT
@pytest.mark.parametrize("alive", [True, False])
def test_a_socket_that_is_not_ours_to_ask_is_in_use_if_somebody_listens_on_it(
    listen: Listen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    if alive:
        listen("socket")
    else:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind("socket")
    Path("socket").chmod(0o600)

    def try_it() -> str:
        with pytest.raises(StartError) as refused:
            open_listener(Binding("unix", path="socket"), "a test", 1, 0o660, (-1, -1))
        return str(refused.value)

    answer = as_somebody(try_it).removeprefix("cannot listen on unix:socket (a test): ")
    if alive:
        assert answer == "a process of another user listens there already: stop it, or choose another address"
    else:
        assert answer == "no permission to make a socket in that directory"


# -- what is shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/usr/bin/python3\0manage.py\0runserver\0", "python3 manage.py runserver"),
        ("/usr/bin/python3.12\0-u\0/srv/shop/manage.py\0runserver\0:80", "python3.12 manage.py runserver :80"),
        ("python3\0-m\0http.server\x008000\0", "python3 -m http.server 8000"),
        ("python3\0-u\0-m\0http.server", "python3 -m http.server"),
        ("python3\0-c\0password = 1", "python3"),
        ("/v/bin/python\0/v/bin/gunicorn\0app:app\0--bind\0:8000", "python gunicorn app:app"),
        ("java\0-Dpassword=1\0-jar\0a.jar", "java"),
        ("tool\0run\0password=1", "tool run"),
        ("tool\0me:secret@host\0x", "tool"),
        ("tool\0a\0b\0c\0d\0e", "tool a b c"),
        ("nginx: master process /usr/sbin/nginx -g daemon off;", "nginx: master process nginx"),
        ("gunicorn: master [app:app]", "gunicorn: master [app:app]"),
        ("/opt/a program/run\0x", "run x"),
        ("", ""),
    ],
)
def test_of_a_command_line_the_program_and_its_first_arguments_are_shown(line: str, shown: str) -> None:
    assert command(line.rstrip("\0")) == shown


def test_what_is_no_text_is_shown_as_what_it_is() -> None:
    assert careful(os.fsdecode(b"a\xff\n\t\x7f\x9b")) == "a\\udcff\\n\\t\\x7f\\udc9b"
    assert careful("x" * 60) == "x" * 60
    assert careful("x" * 61) == "x" * 57 + "..."
