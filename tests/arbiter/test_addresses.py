"""Every kind of address is served: several at once, IPv6, unix sockets with their mode, inherited sockets."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys

import pytest
from live import eventually
from scenes import ask, end_of, stop

COMMAND = [sys.executable, "-m", "server_core"]


@pytest.fixture
def listen(serve):
    """``listen(address, ...)`` serves gate:app on these addresses and no other."""

    def start(*addresses: str, **options: object):
        binds = [part for address in addresses for part in ("-b", address)]
        arguments = options.pop("arguments", ("-w", "1"))
        return serve(*binds, *arguments, "gate:app", command=COMMAND, **options)

    return start


def ask_at(address: tuple[str, int], family: int = socket.AF_INET) -> bytes:
    with socket.socket(family) as client:
        client.connect(address)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return client.recv(65536)


def test_several_addresses_are_served_at_once(listen, tmp_path):
    path = tmp_path / "socket"
    server = listen("127.0.0.1:0", "[::1]:0", f"unix:{path}", "127.0.0.1:0")
    urls = server.text.splitlines()[0].split(" on ")[1].split()
    assert [url.rpartition(":")[0] for url in urls] == ["http://127.0.0.1", "http://[::1]", "unix", "http://127.0.0.1"]
    for url in urls:
        server.url = url
        assert server.get().status == 200
    assert urls[2] == f"unix:{path}"
    stop(server)
    assert not path.exists()


def test_all_addresses_of_both_families_can_have_the_same_port(listen):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = listen(f"0.0.0.0:{port}", f"[::]:{port}")
    assert ask_at(("127.0.0.1", port)).startswith(b"HTTP/1.1 200 OK")
    assert ask_at(("::1", port), socket.AF_INET6).startswith(b"HTTP/1.1 200 OK")
    stop(server)


@pytest.mark.parametrize(("arguments", "mode"), [((), 0o660), (("--socket-mode", "600"), 0o600)])
def test_a_unix_socket_has_the_mode_that_was_asked_for_whatever_the_umask(listen, tmp_path, arguments, mode):
    path = tmp_path / "socket"
    server = listen(f"unix:{path}", arguments=("-w", "1", "--umask", "077", *arguments))
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert server.get().status == 200


def test_the_file_of_a_dead_servers_socket_is_replaced(listen, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    server = listen(f"unix:{path}")
    assert server.get().status == 200


def test_a_server_that_ends_leaves_the_socket_of_its_successor_alone(listen, gate, tmp_path):
    """The old one answers its last request while the new one listens already, in the same place."""
    path = tmp_path / "socket"
    old = listen(f"unix:{path}", env=gate.env, arguments=("-k", "gthread", "--threads", "2", "-w", "1"))
    answer = ask(old, "/gate")
    gate.wait()
    old.signal(signal.SIGTERM)
    eventually(lambda: is_dead(str(path)))
    new = listen(f"unix:{path}", env=gate.env)
    gate.open()
    assert answer.result().status == 200
    assert end_of(old) == 0
    assert new.get().status == 200
    stop(new)
    assert not path.exists()


def is_dead(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return True
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="names without a file exist on Linux only")
def test_a_name_without_a_file_is_served(listen, tmp_path):
    name = f"@prefork-serve-test-{os.getpid()}"
    server = listen(f"unix:{name}")
    assert server.url == f"unix:{name}"
    assert server.get().status == 200
    stop(server)
    assert not os.path.exists(name)


def test_an_inherited_socket_is_served_and_survives(listen):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        number = ours.fileno()
        address = ours.getsockname()
        server = listen(f"fd://{number}", pass_fds=(number,))
        assert server.url == f"http://127.0.0.1:{address[1]}"
        assert server.get().status == 200
        stop(server)
        # Whoever handed it over still has it: a client waits for the next server instead of being refused.
        with socket.create_connection(address) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            second = listen(f"fd://{number}", pass_fds=(number,))
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
            stop(second)


def test_an_inherited_unix_socket_is_served_and_its_file_is_not_ours_to_remove(listen, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(path))
        server = listen(f"fd://{ours.fileno()}", pass_fds=(ours.fileno(),))
        assert server.get().status == 200
        stop(server)
    assert path.is_socket()


def test_an_inherited_socket_is_not_inherited_by_what_the_application_starts(serve, tmp_path):
    (tmp_path / "starts.py").write_text("import os; os.system('ls -l /proc/self/fd > fds'); from gate import app")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        number = ours.fileno()
        apps = os.path.join(os.path.dirname(os.path.dirname(__file__)), "apps")
        path = os.pathsep.join(filter(None, [apps, os.environ.get("PYTHONPATH")]))
        arguments = ("-b", f"fd://{number}", "-w", "1", "starts:app")
        server = serve(*arguments, command=COMMAND, cwd=tmp_path, env={"PYTHONPATH": path}, pass_fds=(number,))
        assert server.get().status == 200
    assert "socket:[" not in (tmp_path / "fds").read_text()


def test_a_relative_path_is_found_in_the_directory_that_chdir_names(serve, tmp_path):
    (tmp_path / "run").mkdir()
    arguments = ("--chdir", "run", "-b", "unix:socket", "--pid", "pid", "--error-logfile", "log", "-w", "1")
    apps = os.path.join(os.path.dirname(os.path.dirname(__file__)), "apps")
    path = os.pathsep.join(filter(None, [apps, os.environ.get("PYTHONPATH")]))
    server = serve(*arguments, "gate:app", command=COMMAND, cwd=tmp_path, env={"PYTHONPATH": path}, wait=False)
    eventually(lambda: (tmp_path / "run" / "log").exists() and "Stop: " in (tmp_path / "run" / "log").read_text())
    server.url = f"unix:{tmp_path}/run/socket"
    assert server.get().status == 200
    stop(server)
    assert os.listdir(tmp_path / "run") == ["log"]
