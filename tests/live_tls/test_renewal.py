"""Knows that certificates whose files change are taken up while the server runs, all of a pair or none of it."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from certificates import Authority
from live import LiveServer, eventually
from tls_client import TlsClient, trusting
from wire import Wire, request

import server_core
from server_core.arbiter.renewal import LOOK_SECONDS, PATIENCE_SECONDS
from server_core.shelf import Shelf

Start = Callable[..., LiveServer]
RENEWED = r"Certificates were renewed \((.*)\): new connections get them\."


class Files:
    """A certificate and its key, which are renewed one way or the other; ``options`` name them."""

    def __init__(self, authority: Authority, directory: Path) -> None:
        self._authority = authority
        self._made = 0
        self.certfile, self.keyfile = directory / "fullchain.pem", directory / "privkey.pem"
        self.options = ["--certfile", str(self.certfile), "--keyfile", str(self.keyfile)]
        self.renew()

    def make(self, **how: object) -> tuple[Path, Path, str]:
        """A further pair, and whose it is."""
        self._made += 1
        title = f"number {self._made}"
        return (*self._authority.make(f"renewed-{self._made}", title=title, **how), title)  # type: ignore[arg-type]

    def renew(self, **how: object) -> str:
        """Replace both as careful programs do, each in one step, the key first; returns whose it is now."""
        certfile, keyfile, title = self.make(**how)
        for new, old in ((keyfile, self.keyfile), (certfile, self.certfile)):
            os.rename(shutil.copy(new, f"{old}.new"), old)
        return title


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> Files:
    return Files(authority, tmp_path)


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    """The context of a client that trusts the authority, whoever it is that it has signed."""
    return trusting(str(authority.path), check_hostname=False)


def title_of(server: LiveServer, trust: ssl.SSLContext, name: str = "localhost") -> str:
    """Whose certificate a new client is shown."""
    with server.connect_plain() as sock, TlsClient(sock, trust, name=name) as client:
        return str(client.tls.getpeercert()["subject"][0][0][1])


def all_show(server: LiveServer, trust: ssl.SSLContext, title: str) -> None:
    """All workers do, in the end: of so many connections in a row each worker gets some."""
    eventually(lambda: all(title_of(server, trust) == title for _ in range(30)))


@pytest.mark.parametrize("kind", [["-k", "sync"], ["-k", "gthread", "--threads", "4"], ["--no-preload"]])
def test_new_connections_get_the_renewed_one_and_old_connections_live_on(
    serve: Start, files: Files, trust: ssl.SSLContext, kind: list[str]
):
    server = serve("contract:app", "-w", "2", *kind, *files.options)
    server.secure = trust
    workers = server.processes()
    with Wire(server) as wire:
        assert wire.get("/before").reply().text == "hello GET /before"
        title = files.renew()
        assert server.read_until(RENEWED)[1] == f"{files.certfile}, {files.keyfile}"
        all_show(server, trust, title)
        assert wire.get("/after").reply().text == "hello GET /after"
    assert server.processes() == workers


def test_no_request_fails_while_certificates_are_renewed_under_load(serve: Start, files: Files, trust: ssl.SSLContext):
    server = serve("contract:app", "-w", "2", "-k", "gthread", "--threads", "4", *files.options)
    server.secure = trust
    stop = threading.Event()
    seen: set[str] = set()
    failures: list[BaseException] = []
    served = 0

    def ask_anew() -> None:
        nonlocal served
        while not stop.is_set():
            try:
                with server.connect_plain() as sock, TlsClient(sock, trust) as client:
                    client.sendall(request("/x", "Connection: close"))
                    assert client.makefile().read().endswith(b"hello GET /x")
                    assert client.said_goodbye
                    seen.add(str(client.tls.getpeercert()["subject"][0][0][1]))
                    served += 1
            except BaseException as error:
                failures.append(error)

    def ask_again() -> None:
        try:
            with Wire(server) as wire:
                while not stop.is_set():
                    assert wire.get("/y").reply().text == "hello GET /y"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=target) for target in (ask_anew, ask_anew, ask_anew, ask_again, ask_again)]
    for thread in threads:
        thread.start()
    try:
        titles = []
        for kind in ("rsa", "ec", "rsa"):
            titles.append(files.renew(kind=kind))
            server.read_until(RENEWED)
            eventually(lambda: titles[-1] in seen)
        before = served
        eventually(lambda: served > before + 100)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert {"number 1", *titles} <= seen


def test_sessions_are_resumed_with_all_workers_after_a_renewal_too(serve: Start, files: Files, trust: ssl.SSLContext):
    server = serve("contract:app", "-w", "3", *files.options)
    title = files.renew()
    server.read_until(RENEWED)
    all_show(server, trust, title)
    with server.connect_plain() as sock, TlsClient(sock, trust) as client:
        client.sendall(request("/x", "Connection: close"))
        client.makefile().read()
        session = client.tls.session
    for _ in range(20):
        with server.connect_plain() as sock, TlsClient(sock, trust, session=session) as client:
            assert client.tls.session_reused


def test_workers_that_come_later_have_it(serve: Start, files: Files, trust: ssl.SSLContext):
    server = serve("contract:app", "-w", "1", *files.options)
    title = files.renew()
    server.read_until(RENEWED)
    (old,) = server.processes()
    files.keyfile.unlink()  # nobody reads it again
    os.kill(old, signal.SIGKILL)
    eventually(lambda: [pid for pid in server.processes() if pid != old])
    assert title_of(server, trust) == title


def test_files_that_are_only_touched_are_the_same(serve: Start, files: Files, trust: ssl.SSLContext):
    server = serve("contract:app", "-w", "1", *files.options)
    os.utime(files.certfile)
    until = time.monotonic() + 4 * LOOK_SECONDS
    while time.monotonic() < until:
        assert title_of(server, trust) == "number 1"
    assert "renewed" not in server.text
    title = files.renew()
    server.read_until(RENEWED)
    all_show(server, trust, title)


def test_a_reload_in_between_changes_nothing(serve: Start, files: Files, trust: ssl.SSLContext):
    server = serve("contract:app", "-w", "1", *files.options)
    for generation in (2, 3):
        title = files.renew()
        server.read_until(RENEWED)
        server.signal(signal.SIGHUP)
        server.read_until(f"Generation {generation} has taken over")
        all_show(server, trust, title)
    title = files.renew()
    server.read_until(RENEWED)
    all_show(server, trust, title)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_that_may_not_read_our_own_code_speak_tls(
    serve: Start, files: Files, trust: ssl.SSLContext, tmp_path: Path
):
    ours = tmp_path / "ours"
    shutil.copytree(Path(server_core.__file__).parent, ours / "server_core")
    ours.chmod(0o700)
    options = ["-w", "1", *files.options, "-u", "65534", "-g", "65534"]
    server = serve("contract:app", *options, env={"PYTHONPATH": str(ours)})
    assert title_of(server, trust) == "number 1"
    server.secure = trust
    assert server.get("/").status == 200
    title = files.renew()
    server.read_until(RENEWED)
    all_show(server, trust, title)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_that_may_not_read_the_key_get_it_nevertheless(serve: Start, files: Files, trust: ssl.SSLContext):
    files.keyfile.parent.chmod(0o700)
    server = serve("contract:app", "-w", "2", *files.options, "-u", "65534", "-g", "65534")
    for pid in server.processes():
        assert Path(f"/proc/{pid}").stat().st_uid == 65534
    title = files.renew()
    files.keyfile.chmod(0o600)
    server.read_until(RENEWED)
    all_show(server, trust, title)


def test_the_key_may_be_encrypted(serve: Start, files: Files, trust: ssl.SSLContext):
    files.renew(password=b"geheim")
    server = serve("contract:app", "-w", "1", *files.options, env={"SERVE_KEYFILE_PASSWORD": "geheim"})
    title = files.renew(password=b"geheim")
    server.read_until(RENEWED)
    all_show(server, trust, title)


def obey_modes() -> None:
    """In a process that is about to be the server: root, too, may read only what modes allow."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.skipif(sys.platform != "linux", reason="root reads everything elsewhere")
def test_a_file_that_may_be_read_only_later_is_taken_up_then(serve: Start, files: Files, trust: ssl.SSLContext):
    server = serve("contract:app", "-w", "1", *files.options, preexec=obey_modes)
    certfile, keyfile, title = files.make()
    Path(shutil.copy(keyfile, f"{files.keyfile}.new")).chmod(0)
    os.rename(f"{files.keyfile}.new", files.keyfile)
    os.rename(shutil.copy(certfile, f"{files.certfile}.new"), files.certfile)
    server.read_until(r"are not taken up, .*: keyfile: cannot read '.*' \(--keyfile\): Permission denied\.")
    files.keyfile.chmod(0o600)
    server.read_until(RENEWED)
    all_show(server, trust, title)


class TestWhatDoesNotMatch:
    def test_a_certificate_whose_key_comes_later_is_waited_for_without_a_word(
        self, serve: Start, files: Files, trust: ssl.SSLContext
    ):
        server = serve("contract:app", "-w", "1", *files.options)
        certfile, keyfile, title = files.make()
        shutil.copy(certfile, files.certfile)
        until = time.monotonic() + 3 * LOOK_SECONDS  # it has been looked at and tried
        while time.monotonic() < until:
            assert title_of(server, trust) == "number 1"
        shutil.copy(keyfile, files.keyfile)
        server.read_until(RENEWED)
        all_show(server, trust, title)
        assert "not taken up" not in server.text

    def test_one_that_stays_wrong_is_told_once_and_the_old_one_stays(
        self, serve: Start, files: Files, trust: ssl.SSLContext
    ):
        server = serve("contract:app", "-w", "1", *files.options)
        certfile, keyfile, title = files.make()
        shutil.copy(certfile, files.certfile)
        server.read_until(
            r"Changed certificate files are not taken up, those from before are used on: keyfile: the key in "
            r"'.*privkey.pem' \(--keyfile\) is not that of the certificate in '.*fullchain.pem' \(--certfile\)\.\n",
            patience=PATIENCE_SECONDS + 3 * LOOK_SECONDS + 10,
        )
        assert title_of(server, trust) == "number 1"
        files.certfile.unlink()
        server.read_until("used on: certfile: cannot read '.*fullchain.pem' .*: No such file or directory", patience=60)
        assert server.text.count("are not taken up") == 2
        assert title_of(server, trust) == "number 1"
        shutil.copy(certfile, files.certfile)
        shutil.copy(keyfile, files.keyfile)
        server.read_until(RENEWED)
        all_show(server, trust, title)

    def test_the_others_are_renewed_and_each_that_is_wrong_is_told(
        self, serve: Start, files: Files, authority: Authority, trust: ssl.SSLContext, tmp_path: Path
    ):
        shop, key = (tmp_path / "shop.pem", tmp_path / "shop-key.pem")
        first = authority.make("shop-1", title="first", names=("shop.example",))
        second = authority.make("shop-2", title="second", names=("shop.example",))
        for one, place in zip(first, (shop, key), strict=True):
            shutil.copy(one, place)
        options = [*files.options, "--sni-certificate", f"shop.example={shop}:{key},www.shop.example={shop}:{key}"]
        server = serve("contract:app", "-w", "1", *options)
        shop.write_text("rubbish")
        server.read_until(r"used on: sni_certificates: '.*shop.pem' \(--sni-certificate\) holds no certificate: ")
        title = files.renew()
        assert server.read_until(RENEWED)[1] == f"{files.certfile}, {files.keyfile}"
        all_show(server, trust, title)
        assert title_of(server, trust, "shop.example") == "first"
        certfile, keyfile, title = files.make()
        shutil.copy(certfile, files.certfile)
        server.read_until(
            r"used on: keyfile: the key in '.*privkey.pem' .* is not that of the certificate in", patience=60
        )
        assert server.text.count("are not taken up") == 2
        shutil.copy(keyfile, files.keyfile)
        assert server.read_until(RENEWED)[1] == f"{files.certfile}, {files.keyfile}", "all since the last renewal"
        shutil.copy(second[0], shop)
        shutil.copy(second[1], key)
        assert server.read_until(RENEWED)[1] == f"{shop}, {key}"
        eventually(lambda: title_of(server, trust, "shop.example") == "second")
        all_show(server, trust, title)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limits of another process: Linux")
def test_what_fails_for_a_reason_that_passes_is_tried_again(serve: Start, files: Files, trust: ssl.SSLContext):
    server = serve("contract:app", "-w", "1", *files.options)
    (arbiter,) = server.processes("arbiter")
    before = resource.prlimit(arbiter, resource.RLIMIT_NOFILE)
    resource.prlimit(arbiter, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{arbiter}/fd")), before[1]))
    title = files.renew()
    server.read_until(r"are not taken up, .*: certfile: cannot read '.*' \(--certfile\): Too many open files\.")
    resource.prlimit(arbiter, resource.RLIMIT_NOFILE, before)
    server.read_until(RENEWED)
    all_show(server, trust, title)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limits of another process: Linux")
def test_a_worker_without_descriptors_takes_it_up_later(serve: Start, files: Files, trust: ssl.SSLContext):
    server = serve("contract:app", "-w", "1", *files.options)
    (worker,) = server.processes()
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, before[1]))
    title = files.renew()
    server.read_until(
        r"are not used here yet, but those from before: .* no temporary file can be made: Too many open files"
    )
    resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    all_show(server, trust, title)
    assert server.text.count("are not used here") == 1


def test_certificates_by_name_and_authorities_are_renewed_too(
    serve: Start, files: Files, authority: Authority, trust: ssl.SSLContext, tmp_path: Path
):
    old, new = (Authority(tmp_path / name) for name in ("old", "new") if not (tmp_path / name).mkdir())
    shutil.copy(old.path, tmp_path / "clients.pem")
    first = authority.make("by-name-1", title="first", names=("a.example",))
    second = authority.make("by-name-2", title="second", names=("a.example",))
    mine = [tmp_path / "a.crt", tmp_path / "a.key"]
    for one, place in zip(first, mine, strict=True):
        shutil.copy(one, place)
    server = serve(
        *("contract:app", "-w", "1", *files.options, "--sni-certificate", f"a.example={mine[0]}:{mine[1]}"),
        *("--ca-certs", str(tmp_path / "clients.pem"), "--cert-reqs", "optional"),
    )
    assert title_of(server, trust, "a.example") == "first"
    for one, place in zip(second, mine, strict=True):
        shutil.copy(one, place)
    assert server.read_until(RENEWED)[1] == f"{mine[0]}, {mine[1]}"
    eventually(lambda: title_of(server, trust, "a.example") == "second")
    assert title_of(server, trust) == "number 1"
    server.secure = trusting(str(authority.path), check_hostname=False)
    server.secure.load_cert_chain(*new.make("client"))

    def is_let_in() -> bool:
        try:
            return server.get("/").status == 200
        except ssl.SSLError:
            return False

    assert not is_let_in()
    os.rename(shutil.copy(new.path, tmp_path / "clients.new"), tmp_path / "clients.pem")
    assert server.read_until(RENEWED)[1] == str(tmp_path / "clients.pem")
    eventually(is_let_in)


def test_a_hook_is_called_again_and_its_failure_leaves_the_old_ones(
    serve: Start, files: Files, trust: ssl.SSLContext, tmp_path: Path
):
    (tmp_path / "here.py").write_text(
        "import os, ssl\n"
        "def app(environ, start_response):\n    start_response('200 OK', [('Content-Length', '0')])\n    return []\n"
        "def context(settings, make):\n    assert not os.path.exists('broken'), 'it is broken'\n    return make()\n"
    )
    server = serve("here:app", "-w", "1", *files.options, "--ssl-context", "here:context", cwd=tmp_path)
    title = files.renew()
    server.read_until(RENEWED)
    all_show(server, trust, title)
    (tmp_path / "broken").touch()
    files.renew()
    server.read_until(r"Renewed certificates are not used here, .*here:context .* raised AssertionError: it is broken")
    server.read_until(r"here\.py\", line 6, in context")
    assert title_of(server, trust) == title
    assert server.get("/").status == 200


class TestShelf:
    @pytest.fixture
    def shelf(self) -> Iterator[Shelf]:
        with closing(Shelf()) as shelf:
            yield shelf

    def test_what_was_laid_last_is_taken(self, shelf: Shelf):
        reader = Shelf(shelf.descriptor)
        assert reader.take() == (0, b"")
        for number, data in enumerate((b"a" * 10, b"b" * 5, b"c" * 5000, b"d", b"", b"e" * 100), 1):
            shelf.lay(data)
            assert reader.number == number
            assert reader.take() == (number, data)
        assert os.fstat(shelf.descriptor).st_blocks * 512 <= 5 * 4096, "memory for what lies there"

    def test_what_there_is_no_room_for_is_refused_and_the_present_one_stays(self, shelf: Shelf):
        shelf.lay(b"a" * (12 << 20))
        with pytest.raises(OSError, match="No space left"):
            shelf.lay(b"b" * (12 << 20))
        assert shelf.take() == (1, b"a" * (12 << 20))
        shelf.lay(b"c")
        assert shelf.take() == (2, b"c")

    def test_who_has_looked_before_needs_no_descriptor(self, shelf: Shelf):
        reader = Shelf(os.dup(shelf.descriptor))
        os.close(reader.descriptor)
        shelf.lay(b"a")
        assert reader.take() == (1, b"a")

    def test_who_has_inherited_it_cannot_write(self, shelf: Shelf):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(shelf.descriptor, b"x", 0)
        with pytest.raises(TypeError, match="readonly"):
            shelf._memory[0] = 1
        assert os.fstat(shelf.descriptor).st_mode & 0o777 == 0o600
        assert os.fstat(shelf.descriptor).st_nlink == 0

    @pytest.mark.parametrize("times", [1, 2, 3])
    def test_who_is_overtaken_while_he_takes_gets_nothing_and_then_the_newest(self, shelf: Shelf, times: int):
        class Overtaken(Shelf):
            def _head(self) -> tuple[int, int, int]:
                head = super()._head()
                if head[0] == 1:
                    for number in range(times):
                        shelf.lay(b"new" * (number + 1))
                return head

        shelf.lay(b"old")
        reader = Overtaken(shelf.descriptor)
        assert reader.take() is None
        assert reader.take() == (1 + times, b"new" * times)
