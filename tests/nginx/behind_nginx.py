"""A real nginx in front of a real server, as the manual has it: only paths, ports and the application are others."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from live import PATIENCE, LiveServer, eventually
from tls_client import TlsClient

#: the address of all clients
CLIENT = "127.0.0.2"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "nginx.md"

#: what the page leaves to the main configuration of the system's nginx
_MAIN = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
{user}
events {{ worker_connections 512; }}
http {{
    log_format lines '$status $request_method $request_uri upstream=$upstream_status';
    access_log {folder}/access.log lines;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{page}
}}
"""


def find_nginx() -> str | None:
    """The program, also where only root has it in its path."""
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


def blocks(language: str) -> list[str]:
    """The fenced blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def replaced(text: str, old: str, new: str) -> str:
    """``text`` with ``new`` in the place of ``old``, which has to stand there once."""
    assert text.count(old) == 1, f"the page has {old!r} {text.count(old)} times"
    return text.replace(old, new)


def configuration(*, tcp: bool = False, https: bool = False, websockets: bool = False) -> str:
    """The configuration as the page says that it is put together."""
    whole, by_tcp, with_tls, mapping, offers = blocks("nginx")
    if tcp:
        whole = replaced(whole, "server unix:/run/shop/shop.sock;\n", by_tcp)
    if https:
        whole = replaced(whole, "listen 80;\n", with_tls)
    if websockets:
        whole = mapping + replaced(whole, 'proxy_set_header Connection "";\n', offers)
    return whole


def server_words(*, tcp: bool = False) -> list[str]:
    """The words of the server's command line on the page, without the command and the application."""
    line = blocks("sh")[1 if tcp else 0]
    command, *words, application = shlex.split(line)
    assert (command, application) == ("prefork-serve", "shop:app")
    return words


class Nginx:
    """Serves on a free port of 127.0.0.1, until ``end``.  It has what ``wire.Wire`` needs of a server.

    The port is ours before it is nginx's, which is given the socket as it would be by an nginx that it replaces.
    """

    def __init__(self, program: str, folder: Path, page: str, secure: ssl.SSLContext | None = None) -> None:
        self.folder = folder
        self.secure = secure
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = listener.getsockname()[:2]
            config = folder / "nginx.conf"
            page = re.sub(r"listen (80|443)\b", f"listen 127.0.0.1:{self.address[1]}", page)
            user = "user root;" if os.getuid() == 0 else ""  # whose sockets and files are the tests' own
            config.write_text(_MAIN.format(folder=folder, user=user, page=page))
            self.process = subprocess.Popen(
                [program, "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(config)],
                env={"NGINX": f"{listener.fileno()};"},
                pass_fds=(listener.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            eventually(self._serves)
        except BaseException:
            self.end()
            raise

    def _serves(self) -> bool:
        assert self.process.poll() is None, self.log
        return len(self.workers) == 1

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers that are not going."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        titles = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in listed}
        return [pid for pid, title in titles.items() if title.startswith(b"nginx: worker process\0")]

    @property
    def log(self) -> str:
        """What it has to complain about."""
        path = self.folder / "error.log"
        return path.read_text() if path.exists() else ""

    @property
    def lines(self) -> list[str]:
        """A line for each request."""
        return (self.folder / "access.log").read_text().splitlines()

    def connect(self, timeout: float = PATIENCE) -> Any:
        """A socket, or what has its methods.  The client has an address of its own, and is no proxy."""
        sock = socket.create_connection(self.address, timeout, (CLIENT, 0))
        return sock if self.secure is None else TlsClient(sock, self.secure)

    def reload(self) -> None:
        """New workers instead of those that are there."""
        old = self.workers
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.workers and not set(self.workers) & set(old))

    def end(self) -> None:
        """Kill all of it."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(PATIENCE)


class Site:
    """A server that is started like the one on the page, and an nginx that has the page's configuration.

    ``kind`` is how they are joined, "unix" or "tcp".  ``change`` may change the configuration: a test says how it
    differs.  ``certificate`` (its file, its key's) makes nginx speak https, to clients that have ``secure``.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        kind: str,
        options: list[str],
        *,
        app: str = "contract:app",
        websockets: bool = False,
        change: Callable[[str], str] = lambda page: page,
        certificate: tuple[Path, Path] | None = None,
        secure: ssl.SSLContext | None = None,
    ) -> None:
        tcp = kind == "tcp"
        words = server_words(tcp=tcp)
        words[words.index("--bind") + 1] = "127.0.0.1:0" if tcp else f"unix:{folder}/s"
        self.server = LiveServer(*options, app, command=[sys.executable, "-m", "server_core", *words])
        try:
            self.server.wait_until_serving()
            page = configuration(tcp=tcp, https=certificate is not None, websockets=websockets)
            if tcp:
                page = replaced(page, "127.0.0.1:8000", f"127.0.0.1:{self.server.address[1]}")
            else:
                page = replaced(page, "/run/shop/shop.sock", f"{folder}/s")
            if certificate is not None:
                page = replaced(page, "/etc/ssl/shop.crt", str(certificate[0]))
                page = replaced(page, "/etc/ssl/shop.key", str(certificate[1]))
            self.nginx = Nginx(program, folder, change(page), secure)
        except BaseException:
            self.server.end()
            raise

    def end(self) -> None:
        """End both."""
        self.nginx.end()
        self.server.end()
