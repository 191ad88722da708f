"""Opens what a binding names: addresses become listening sockets; knows nothing of who accepts on them."""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from server_core.config.bindings import Binding
from server_core.errors import StartError
from server_core.holders import Holder, holder_of_path, holder_of_port
from server_core.process import require_writable

if TYPE_CHECKING:
    from ssl import SSLContext

#: how much of an answer the kernel takes that it cannot send yet
UNSENT_BYTES = 256 * 1024
#: among how many ports after one in use a free one is looked for
NEXT_PORTS = 100


class Listener(NamedTuple):
    """A bound socket with the binding that it was made of; ``scheme`` is "https" when TLS is spoken on it, and ``tls``
    is then, in a worker, the context of its connections, ready for use.  Where plain HTTP is only redirected to https,
    ``redirect_port`` says to which port; 0 elsewhere."""

    socket: socket.socket
    binding: Binding
    scheme: str = "http"
    tls: SSLContext | None = None
    redirect_port: int = 0

    @property
    def url(self) -> str:
        """Where a person finds it: ``http://127.0.0.1:8000``, ``https://127.0.0.1:8000`` or ``unix:/run/app.sock``."""
        if self.socket.family == socket.AF_UNIX:
            return f"unix:{unix_name(self.socket)}"
        host, port = self.socket.getsockname()[:2]
        return f"{self.scheme}://[{host}]:{port}" if ":" in host else f"{self.scheme}://{host}:{port}"

    @property
    def port(self) -> int:
        """Its number, 0 for a unix socket."""
        return 0 if self.socket.family == socket.AF_UNIX else int(self.socket.getsockname()[1])

    @property
    def server_name_and_port(self) -> tuple[str, str]:
        """SERVER_NAME and SERVER_PORT of a WSGI environ; a unix socket has neither, and PEP 3333 wants both."""
        if self.socket.family == socket.AF_UNIX:
            return "localhost", "443" if self.scheme == "https" else "80"
        host, port = self.socket.getsockname()[:2]
        return host, str(port)

    def remove_file(self) -> None:
        """Take a unix socket's file away, when nobody of ours has the socket any more.

        Another server may have put its own in that place while this one was answering its last requests.
        """
        if self.binding.kind == "unix" and not self.binding.is_abstract:
            try:
                _remove_stale(self.binding.path)
            except OSError:
                pass


def unix_name(sock: socket.socket) -> str:
    """A unix socket's address as it is written in a binding."""
    name = sock.getsockname()
    text = os.fsdecode(name)
    return "@" + text[1:] if text.startswith("\0") else text


def judge_binding(binding: Binding, origin: str) -> None:
    """Raise StartError for an address on which this machine can never listen; whether it is free is not asked.

    Called before anything else is opened: a descriptor that nobody has handed down may be one of our own later.
    """
    try:
        if binding.kind == "fd":
            _inherited(binding.fd).close()
        elif binding.kind == "tcp":
            _open_tcp(replace(binding, port=0)).close()
        elif not binding.is_abstract:
            _has_socket(binding.path)
            require_writable(os.path.dirname(os.path.abspath(binding.path)))
    except OSError as error:
        raise _refusal(binding, origin, error) from error


def open_listener(
    binding: Binding,
    origin: str,
    backlog: int,
    mode: int,
    owner: tuple[int, int],
    scheme: str = "http",
    redirect_port: int = 0,
) -> Listener:
    """Bind and listen.  ``mode`` and ``owner`` (user, group; -1 leaves one alone) are for the file of a unix socket,
    ``scheme`` and ``redirect_port`` for the Listener.

    Raises StartError with one sentence that says where the address came from and what to do.
    """
    try:
        sock = _open(binding, mode, owner)
        sock.listen(backlog)
    except OSError as error:
        option = "--redirect-bind" if redirect_port else "--bind"
        raise _refusal(binding, origin, error, option) from error
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        # Accepted sockets inherit both.  An answer's last part must not wait for an acknowledgement; and what a client
        # does not take is kept by us, who count it, and not by the kernel, which takes megabytes for each connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return Listener(sock, binding, scheme, redirect_port=redirect_port)


def _open(binding: Binding, mode: int, owner: tuple[int, int]) -> socket.socket:
    if binding.kind == "fd":
        sock = _inherited(binding.fd)
        os.set_inheritable(binding.fd, False)
        return sock
    if binding.kind == "unix":
        return _open_unix(binding, mode, owner)
    return _open_tcp(binding)


def _inherited(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=os.dup(descriptor))
    if sock.type != socket.SOCK_STREAM:
        sock.close()
        raise OSError(errno.ENOTSOCK, "it is not a stream socket")
    return sock


def _open_tcp(binding: Binding) -> socket.socket:
    family, kind, protocol, address = _resolve(binding)
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::]:8000 and 0.0.0.0:8000 can then be bound side by side, as written.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _resolve(binding: Binding) -> tuple[int, int, int, Any]:
    family, kind, protocol, _, address = socket.getaddrinfo(
        binding.host, binding.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return family, kind, protocol, address


def _open_unix(binding: Binding, mode: int, owner: tuple[int, int]) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        if binding.is_abstract:
            sock.bind("\0" + binding.path[1:])
            return sock
        _remove_stale(binding.path)
        # Nobody may connect before the mode is what it should be.
        umask = os.umask(0o777 & ~mode)
        try:
            sock.bind(binding.path)
        finally:
            os.umask(umask)
        # The directory may be the account's own, which could put a link to another file there: follow none.
        if owner != (-1, -1):
            os.chown(binding.path, *owner, follow_symlinks=False)
    except OSError:
        sock.close()
        raise
    return sock


def _has_socket(path: str) -> bool:
    """Is there one, perhaps of a server that is gone?  Raises FileExistsError for any other file."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file of that name, and it is no socket")
    except FileNotFoundError:
        return False
    return True


def _remove_stale(path: str) -> None:
    """Take away the file of a server that is gone; never a file that is no socket, nor one that somebody answers on."""
    if not _has_socket(path):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a live server's queue may be full
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
        except PermissionError:
            if holder_of_path(path) is None:
                raise
    raise OSError(errno.EADDRINUSE, "in use")


def _refusal(binding: Binding, origin: str, error: OSError, option: str = "--bind") -> StartError:
    return StartError(f"cannot listen on {binding} ({origin}): {_reason(binding, error, option)}")


def _reason(binding: Binding, error: OSError, option: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host {binding.host!r} is not known ({error.strerror})"
    if error.errno == errno.EADDRINUSE:
        return _busy(binding, option)
    known = {
        errno.EADDRNOTAVAIL: "that address does not belong to this machine: 0.0.0.0 or [::] stand for all of its own",
        errno.EACCES: "no permission: ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
        if binding.kind == "tcp"
        else "no permission to make a socket in that directory",
        errno.EBADF: "no such descriptor is open: it has to be inherited from the process that starts the server",
        errno.ENOTSOCK: "that descriptor is no stream socket",
        errno.ENOENT: "the directory does not exist",
    }
    return known.get(error.errno or 0, error.strerror or str(error))


def _busy(binding: Binding, option: str) -> str:
    """Who listens there, and where one could listen instead."""
    if binding.kind == "unix":
        holder, instead = holder_of_path(binding.path), "choose another address"
    else:
        holder, instead = holder_of_port(_resolve(binding)[3][0], binding.port), _next_free(binding, option)
    if holder is None:
        holder = Holder(0, "another program")
    elif holder.pid == os.getpid():
        return "this server listens there itself: name each address once, and a socket that it has inherited as fd://N"
    return f"{holder.words} listens there already: stop it, or {instead}"


def _next_free(binding: Binding, option: str) -> str:
    for port in range(binding.port + 1, min(binding.port + NEXT_PORTS, 65535) + 1):
        other = replace(binding, port=port)
        try:
            _open_tcp(other).close()
        except OSError:
            continue
        return f"take the next free port with {option} {other}"
    return "choose another address"


def adopt(descriptor: int) -> socket.socket:
    """The listening socket behind a descriptor that was inherited from the arbiter."""
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock


def peer_of(peer: Any) -> tuple[str, str]:
    """REMOTE_ADDR and REMOTE_PORT of what accept() returned; both "" for a unix socket."""
    return (peer[0], str(peer[1])) if isinstance(peer, tuple) else ("", "")
