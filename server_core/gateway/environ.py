"""Knows the request's half of PEP 3333: the environ, part by part, and what stands in it; calls nobody."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from typing import IO, Any

from server_core.http.fields import Fields

Environ = dict[str, Any]


def base_environ(
    name: str,
    port: str,
    software: str,
    *,
    multithread: bool,
    multiprocess: bool,
    errors: IO[str],
    scheme: str = "http",
) -> Environ:
    """The part of an environ that is the same for every request on a listener (PEP 3333, "environ Variables").

    With the ``scheme`` "https" HTTPS is "on", as CGI programs of old expect it.
    """
    return {
        **({"HTTPS": "on"} if scheme == "https" else {}),
        "SCRIPT_NAME": "",
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_SOFTWARE": software,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": errors,
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.early_hints": unheard,  # each request has its own in this place
        # Not in PEP 3333, but read by Werkzeug and others: the input ends by itself, also when it came in chunks.
        "wsgi.input_terminated": True,
    }


class Request:
    """What is known of a request before its body: the ``template`` of its environ, and what the server has to heed.

    The application gets a copy of the template, with its ``wsgi.input`` and ``wsgi.early_hints``.  A client that
    repeats its method and fields keeps the request, which is ``aimed`` at another target then.
    """

    __slots__ = ("head_only", "http11", "keep_alive", "target", "template")

    def __init__(
        self,
        base: Environ,
        fields: Fields,
        method: str,
        minor: int,
        keep_alive: bool,
        address: str,
        port: str,
        scheme: str = "",
    ) -> None:
        """``base`` holds what is the same for every request on a listener; ``scheme`` is "" unless a trusted proxy told
        it; ``keep_alive``: the client does not ask to close."""
        self.head_only = method == "HEAD"
        self.http11 = minor > 0
        self.keep_alive = keep_alive
        self.target = ""
        template = self.template = {**base, **fields}
        template["REQUEST_METHOD"] = method
        template["SERVER_PROTOCOL"] = "HTTP/1.1" if minor else "HTTP/1.0"
        template["REMOTE_ADDR"] = address
        template["REMOTE_PORT"] = port
        if scheme:
            template["wsgi.url_scheme"] = scheme
            if scheme != "https":  # the client's, which a proxy has told: TLS is the proxy's own
                template.pop("HTTPS", None)

    def aim(self, target: str, path: str, query: str) -> None:
        """``target`` as it was sent, and its parts."""
        self.target = target
        template = self.template
        template["PATH_INFO"] = path if "%" not in path else unquote(path)
        template["QUERY_STRING"] = query
        template["RAW_URI"] = template["REQUEST_URI"] = target


def unquote(path: str) -> str:
    """Percent-decoded path as latin-1 text (PEP 3333, "Unicode Issues"); a stray "%" stays as it is."""
    first, *parts = path.split("%")
    decoded = [first]
    for part in parts:
        try:
            decoded.append(bytes.fromhex(part[:2]).decode("latin-1") + part[2:] if part[:2].isalnum() else "%" + part)
        except ValueError:
            decoded.append("%" + part)
    return "".join(decoded)


def unheard(headers: Iterable[tuple[str, str]]) -> None:
    """``wsgi.early_hints`` where there is no client: does nothing."""


class FileWrapper:
    """``wsgi.file_wrapper``: a file as an iterable (PEP 3333), which the server may send by sendfile(2) instead."""

    def __init__(self, filelike: IO[bytes], block_size: int = 65536) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = self.filelike.read(self.block_size)
        if not block:
            raise StopIteration
        return block

    def extent(self) -> tuple[int, int, int] | None:
        """Descriptor, offset and bytes to the end when this is a plain file, else None.

        Only when ``read`` is a file's own method are its bytes the file's (tempfile's and Django's wrappers pass it
        on): a GzipFile has a descriptor too, and other bytes.
        """
        read: Any = getattr(self.filelike, "read", None)
        file = getattr(getattr(read, "__wrapped__", read), "__self__", None)
        if not (type(file) is io.BufferedReader or type(file) is io.BufferedRandom or type(file) is io.FileIO):
            return None
        try:
            status = os.fstat(file.fileno())
            return (file.fileno(), file.tell(), status.st_size - file.tell()) if stat.S_ISREG(status.st_mode) else None
        except (OSError, ValueError):
            return None
