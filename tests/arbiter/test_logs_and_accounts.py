"""Where messages go, and as whom the application runs."""

from __future__ import annotations

import grp
import os
import pwd
import re
import select
import signal
import socket
import stat
import sys
import tempfile
from pathlib import Path

import pytest
from live import PATIENCE, eventually
from scenes import NO_BYTE_CODE, read_when, stop, title, write_module

from server_core.process import PidFile

COMMAND = [sys.executable, "-m", "server_core"]
LINE = r'^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /\?a=b HTTP/1\.1" 200 \d+ "-" "probe"$'


# -- logs


def test_the_error_log_can_be_a_file_and_then_nothing_is_written_to_the_terminal(serve, tmp_path):
    log = tmp_path / "error.log"
    server = serve("-w", "1", "--error-logfile", str(log), "simple:app", wait=False)
    server.url = re.search(r"serves simple:app on (\S+)", read_when(log, "Stop: .*\n"))[1]
    assert server.get("/boom").status == 500
    assert "RuntimeError: this page always fails" in read_when(log, "^RuntimeError")
    os.kill(server.processes("worker")[0], signal.SIGKILL)
    read_when(log, "was lost: it was killed by SIGKILL")
    eventually(lambda: server.processes("worker"))
    stop(server)
    assert "Stopped." in log.read_text()
    assert server.text == ""


def test_the_level_of_the_log_is_the_least_that_is_written(serve, tmp_path):
    log, path = tmp_path / "error.log", tmp_path / "socket"
    arguments = ("--log-level", "error", "--error-logfile", str(log), "-b", f"unix:{path}")
    server = serve("-w", "1", *arguments, "simple:app", command=COMMAND, wait=False)
    server.url = f"unix:{path}"
    eventually(path.exists)
    os.kill(int(server.get().text), signal.SIGKILL)
    assert re.fullmatch(r"\[.*\] \[ERROR\] Worker 1 .*\n", read_when(log, "was lost"))


def test_the_access_log_goes_to_standard_output_as_it_happens(serve):
    server = serve("-w", "1", "--access-logfile", "-", "simple:app")
    server.get("/?a=b", user_agent="probe")
    server.read_until(LINE)


def test_the_access_log_goes_to_a_file_that_all_workers_share(serve, tmp_path):
    log = tmp_path / "access.log"
    server = serve("-w", "2", "--access-logfile", str(log), "simple:app")
    for _ in range(20):
        server.get("/?a=b", user_agent="probe")
    stop(server)
    assert len(re.findall(LINE, log.read_text(), re.MULTILINE)) == 20
    assert "GET" not in server.text


def test_without_being_asked_for_there_is_no_access_log(serve):
    server = serve("-w", "1", "simple:app")
    server.get("/?a=b")
    stop(server)
    assert "GET" not in server.text


def test_the_format_of_the_access_log_is_what_was_asked_for(serve):
    form = "%(m)s %(U)s %(q)s %(s)s %(B)s %({x-mark}i)s %({content-type}o)s"
    server = serve("-w", "1", "--access-logfile", "-", "--access-logformat", form, "simple:app")
    server.get("/path?query", x_mark="here")
    server.read_until(r"^GET /path query 200 \d+ here text/plain$")


def test_both_logs_go_to_syslog(serve):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(PATIENCE)
        where = f"udp://127.0.0.1:{syslog.getsockname()[1]}"
        arguments = ("--log-syslog", "--log-syslog-to", where, "--log-syslog-facility", "local3", "-n", "shop")
        server = serve("-w", "1", *arguments, "simple:app")
        heard = [syslog.recv(65536) for _ in range(4)]
        # local3 is 19, info is 6: 19 * 8 + 6
        assert heard[0].startswith(b"<158>shop[%d]: prefork-serve " % server.pid)
        server.get("/?a=b", user_agent="probe")
        line = syslog.recv(65536).rstrip(b"\0")
        (worker,) = server.processes("worker")
        assert re.fullmatch(rb'<158>shop\[%d\]: 127\.0\.0\.1 .* "GET /\?a=b HTTP/1\.1" 200 .*' % worker, line)


@pytest.mark.parametrize("check", [[], ["--check-config"]])
def test_a_syslog_that_cannot_be_reached_is_refused(serve, tmp_path, check):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for where, why in (
            (f"tcp://127.0.0.1:{nobody.getsockname()[1]}", "Connection refused"),
            (f"unix://{tmp_path}/nothing", "No such file or directory"),
        ):
            server = serve("--log-syslog", "--log-syslog-to", where, *check, "simple:app", wait=False)
            assert server.wait() == 1
            assert server.text == f"Error: cannot reach syslog at {where} (syslog_addr: --log-syslog-to): {why}\n"


class Syslog:
    """A syslog that can be away for a while; ``kind`` is the beginning of its address."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._stream = kind == "tcp" or kind.endswith("stream")
        self._name = ("127.0.0.1", 0) if kind == "tcp" else str(folder / "syslog")
        self.come()
        self.where = f"tcp://127.0.0.1:{self._name[1]}" if kind == "tcp" else f"unix://{self._name}#{kind}"

    def come(self) -> None:
        kind = socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM
        self._sockets = [socket.socket(socket.AF_UNIX if isinstance(self._name, str) else socket.AF_INET, kind)]
        self._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sockets[0].bind(self._name)
        self._name = self._sockets[0].getsockname()
        if self._stream:
            self._sockets[0].listen()
        self._heard = b""

    def go(self) -> None:
        for each in self._sockets:
            each.close()
        if isinstance(self._name, str):
            os.unlink(self._name)

    def heard(self) -> bytes:
        for each in select.select(self._sockets, [], [], 0.02)[0]:
            if self._stream and each is self._sockets[0]:
                self._sockets.append(each.accept()[0])
            else:
                self._heard += each.recv(65536)
        return self._heard


@pytest.mark.parametrize("kind", ["tcp", "dgram", "stream"])
def test_a_syslog_that_goes_away_is_found_again_and_missed_by_nobody(serve, tmp_path, kind):
    syslog = Syslog(kind, tmp_path)
    server = serve("-w", "1", "--log-syslog", "--log-syslog-to", syslog.where, "-n", "shop", "simple:app")
    eventually(lambda: b"Stop: " in syslog.heard())
    syslog.go()
    for _ in range(5):
        assert server.get().status == 200
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    for _ in range(5):
        assert server.get().status == 200
    syslog.come()
    eventually(lambda: server.get("/again").status and b"GET /again" in syslog.heard())
    server.signal(signal.SIGHUP)
    server.read_until("Generation 3 has taken over")
    eventually(lambda: b"Generation 3 has taken over" in syslog.heard())
    stop(server)
    syslog.go()
    assert "Traceback" not in server.text
    assert "Logging error" not in server.text


def test_what_the_application_prints_and_logs_arrives(serve, tmp_path):
    write_module(
        tmp_path,
        """
        import logging, sys

        def app(environ, start_response):
            print("printed")
            print("to wsgi.errors", file=environ["wsgi.errors"])
            logging.getLogger("shop").warning("logged")
            start_response("200 OK", [("Content-Length", "0")])
            return []
        """,
    )
    server = serve("-w", "1", "site_app:app", cwd=tmp_path)
    server.get()
    server.read_until("^printed$")
    stop(server)
    assert re.search("^to wsgi.errors$", server.text, re.MULTILINE)
    assert re.search("^logged$", server.text, re.MULTILINE)


# -- user, group, umask

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

TELLS_WHO_IT_IS = """
import os

IMPORTED_AS = f"{os.getuid()} {os.geteuid()} {os.getgid()} {os.getegid()} {sorted(os.getgroups())}"
open("made", "w").close()

def app(environ, start_response):
    body = f"{IMPORTED_AS}|{os.getuid()} {os.getgid()} {sorted(os.getgroups())}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def open_directory():
    """A directory that everybody may write to; not below those of pytest, which any other run of it closes again."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name).resolve()
        directory.chmod(0o777)
        yield directory


@as_root
@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_user_and_group_are_dropped_before_the_application_is_imported(serve, open_directory, preload):
    nobody = pwd.getpwnam("nobody")
    write_module(open_directory, TELLS_WHO_IT_IS)
    arguments = ("-w", "1", preload, "--user", "nobody", "--umask", "027")
    server = serve(*arguments, "site_app:app", cwd=open_directory, env=NO_BYTE_CODE)
    uid, gid = nobody.pw_uid, nobody.pw_gid
    groups = sorted(os.getgrouplist("nobody", gid))
    assert server.get().text == f"{uid} {uid} {gid} {gid} {groups}|{uid} {gid} {groups}"
    made = (open_directory / "made").stat()
    assert (made.st_uid, made.st_gid) == (uid, gid)
    assert stat.S_IMODE(made.st_mode) == 0o640
    assert os.stat(f"/proc/{server.pid}").st_uid == 0  # the arbiter stays who it was
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    eventually(lambda: len(server.processes("worker")) == 1)
    assert server.get().text.startswith(f"{uid} {uid} {gid} {gid} ")
    stop(server)


@as_root
def test_a_group_alone_can_be_dropped_and_a_number_is_as_good_as_a_name(serve, open_directory):
    group = grp.getgrall()[-1]
    write_module(open_directory, TELLS_WHO_IT_IS)
    server = serve("-w", "1", "--group", str(group.gr_gid), "site_app:app", cwd=open_directory, env=NO_BYTE_CODE)
    assert server.get().text.startswith(f"0 0 {group.gr_gid} {group.gr_gid} [{group.gr_gid}]|")
    (open_directory / "made").unlink()
    other = serve("-w", "1", "--user", "54321", "--group", group.gr_name, "site_app:app", cwd=open_directory)
    assert other.get().text.startswith(f"54321 54321 {group.gr_gid} {group.gr_gid} [{group.gr_gid}]|")


@as_root
def test_logs_and_sockets_belong_to_the_account_that_serves(serve, open_directory):
    nobody = pwd.getpwnam("nobody")
    log, access, path = (open_directory / name for name in ("error.log", "access.log", "socket"))
    write_module(open_directory, TELLS_WHO_IT_IS)
    arguments = ("--error-logfile", str(log), "--access-logfile", str(access), "-b", f"unix:{path}", "-u", "nobody")
    server = serve(
        *arguments, "-w", "1", "site_app:app", command=COMMAND, cwd=open_directory, env=NO_BYTE_CODE, wait=False
    )
    read_when(log, "Stop: .*\n")
    for file in (log, access, path):
        assert file.stat().st_uid == nobody.pw_uid
        assert stat.S_IMODE(file.stat().st_mode) & 0o007 == 0
    server.url = f"unix:{path}"
    assert server.get().status == 200
    read_when(access, "GET /")
    stop(server)
    assert not path.exists()


@as_root
@pytest.mark.parametrize("flag", ["--access-logfile", "--error-logfile"])
def test_root_neither_follows_a_strangers_link_nor_gives_away_what_is_there(serve, open_directory, flag):
    nobody = pwd.getpwnam("nobody")
    secret = open_directory / "shadow"
    secret.write_text("root:secret\n")
    secret.chmod(0o640)
    link = open_directory / "server.log"
    link.symlink_to(secret)
    os.chown(link, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    for path, why in (
        (link, "symbolic link that does not belong to root"),
        (secret, "as nobody (user): give the file"),
    ):
        server = serve(flag, str(path), "-u", "nobody", "simple:app", wait=False)
        assert server.wait() == 1
        assert server.text.count("\n") == 1
        assert f"cannot write the log {path}" in server.text
        assert why in server.text
    assert secret.read_text() == "root:secret\n"
    assert secret.stat().st_uid == 0


@as_root
def test_a_log_that_the_account_cannot_reach_is_told_before_the_start(serve, open_directory):
    folder = open_directory / "closed"
    folder.mkdir(mode=0o700)
    server = serve("--access-logfile", str(folder / "access.log"), "-u", "nobody", "simple:app", wait=False)
    assert server.wait() == 1
    assert server.text.count("\n") == 1
    assert f"as nobody (user): that account may not enter {folder}" in server.text
    assert not list(folder.iterdir())


def test_a_pipe_that_nobody_reads_is_no_log(serve, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    server = serve("--error-logfile", str(pipe), "simple:app", wait=False)
    assert server.wait() == 1
    assert server.text.count("\n") == 1
    assert "it is a pipe that nobody reads" in server.text


@pytest.mark.parametrize("user", [(), pytest.param(("-u", "nobody"), marks=as_root)])
@pytest.mark.parametrize("linked", [False, True])
def test_dev_stdout_is_a_log_although_it_is_somebody_elses_pipe(serve, open_directory, user, linked):
    write_module(open_directory, TELLS_WHO_IT_IS)
    path = open_directory / "log"
    if linked:
        path.symlink_to("/dev/stdout")
    options = ("-w", "1", "--access-logfile", str(path) if linked else "/dev/stdout", *user)
    server = serve(*options, "site_app:app", cwd=open_directory, env=NO_BYTE_CODE)
    server.get("/listed")
    server.read_until("GET /listed HTTP/1.1")


@as_root
def test_a_log_that_is_there_is_written_on_if_the_account_may(serve, open_directory):
    nobody = pwd.getpwnam("nobody")
    log = open_directory / "access.log"
    log.write_text("before\n")
    os.chown(log, nobody.pw_uid, nobody.pw_gid)
    write_module(open_directory, TELLS_WHO_IT_IS)
    arguments = ("--access-logfile", str(log), "-w", "1", "-u", "nobody", "site_app:app")
    server = serve(*arguments, cwd=open_directory, env=NO_BYTE_CODE)
    server.get()
    read_when(log, "before\n.*GET /")
    stop(server)


def test_no_secret_of_the_command_line_is_in_titles_or_logs(serve, tmp_path):
    write_module(
        tmp_path,
        """
        def make(secret):
            def app(environ, start_response):
                start_response("200 OK", [("Content-Length", "0")])
                return []
            return app
        """,
    )
    server = serve("-w", "1", 'site_app:make("s3cret")', cwd=tmp_path)
    server.get()
    for role in ("arbiter", "forkserver", "worker"):
        for pid in server.processes(role):
            assert "s3cret" not in title(pid)
            assert "site_app:make(...)" in title(pid)
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    stop(server)
    assert "s3cret" not in server.text


@as_root
def test_an_application_that_its_user_may_not_read_is_told_as_such(serve, tmp_path):
    write_module(tmp_path, TELLS_WHO_IT_IS)
    (tmp_path / "site_app.py").chmod(0o600)
    server = serve("--user", "nobody", "site_app:app", cwd=tmp_path, wait=False)
    assert server.wait() == 4
    assert server.text.startswith("Error: ")
    assert "Permission denied" in server.text or "no module named 'site_app'" in server.text


@as_root
def test_only_root_can_become_somebody_else(serve, open_directory):
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *COMMAND]
    if os.system("command -v setpriv > /dev/null") != 0 or not os.access(sys.executable, os.X_OK):
        pytest.skip("setpriv is not installed")
    server = serve("--user", "daemon", "simple:app", command=command, cwd=open_directory, wait=False)
    status = server.wait()
    if status == 126 or "Permission denied" in server.text or "No module named server_core" in server.text:
        pytest.skip("nobody may not read this interpreter or this checkout")
    assert status == 1
    assert server.text == (
        "Error: no permission to become another user or group (--user): start the server as root, or leave it out\n"
    )


# -- links and pipes in directories of others


def test_the_pid_file_is_written_through_no_link(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("keep me\n")
    secret.chmod(0o600)
    (tmp_path / f"pid.{os.getpid()}").symlink_to(secret)
    pidfile = PidFile(str(tmp_path / "pid"), "test")
    pidfile.create()
    assert secret.read_text() == "keep me\n"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / "pid").is_symlink()
    pidfile.remove()
    assert not (tmp_path / "pid").exists()


def test_a_pipe_in_the_place_of_the_pid_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pid")
    PidFile(str(tmp_path / "pid"), "test").create()
    assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"


@as_root
def test_root_does_not_write_its_log_to_a_pipe_of_somebody_else(serve, open_directory):
    nobody = pwd.getpwnam("nobody")
    pipe = open_directory / "pipe"
    os.mkfifo(pipe)
    os.chown(pipe, nobody.pw_uid, nobody.pw_gid)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    server = serve("--error-logfile", str(pipe), "-u", "nobody", "simple:app", wait=False)
    assert server.wait() == 1
    assert "it is a pipe that does not belong to root" in server.text
    os.close(reader)


@as_root
@pytest.mark.parametrize("mode", ["600", "666"])
def test_a_unix_socket_has_its_mode_and_owner_from_its_first_moment_on(serve, open_directory, mode):
    """Nothing is changed by its path afterwards but the owner, and that follows no link."""
    path = open_directory / "socket"
    server = serve(
        "-b", f"unix:{path}", "--socket-mode", mode, "-u", "nobody", "simple:app", command=COMMAND, wait=False
    )
    server.read_until("Stop: ")
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)
    assert path.stat().st_uid == pwd.getpwnam("nobody").pw_uid
