"""WhiteNoise's files, where its answers are not what we want: ranges, lists of entity tags, and files that cannot be
read, are gone or were written anew.

The only file that imports WhiteNoise; what is served, and below which paths, is not its business.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from whitenoise import WhiteNoise
from whitenoise.responders import MissingFileError, NotARegularFileError

from server_core.gateway.environ import Environ
from server_core.gateway.loader import Application
from server_core.http.ranges import part_asked_for


class Files(WhiteNoise):  # type: ignore[misc]  # it has no types
    """``application``, with the files that were added; the methods are WhiteNoise's.

    ``left_out`` are those that were found and cannot be served: why, by their paths.
    """

    def __init__(self, application: Application, **options: object) -> None:
        super().__init__(application, **options)
        self.left_out: dict[str, str] = {}

    def update_files_dictionary(self, root: str, prefix: str) -> None:
        """Add the files of a directory.  Raises OSError when it cannot be read."""
        found = dict(_files_below(root, self.left_out))
        for path in found:
            self.add_file_to_dictionary(prefix + path[len(root) :], path, stat_cache=found)

    def find_file_at_path(self, path: str, url: str) -> Any:
        """What is no file, or cannot be looked at, is not there: the application answers, as when files are looked for
        at the start."""
        try:
            return super().find_file_at_path(path, url)
        except (NotARegularFileError, OSError):
            raise MissingFileError(path)

    def get_static_file(self, path: str, url: str, stat_cache: Any = None) -> Any:
        """The same as WhiteNoise's, and it knows what it was made of."""
        found = super().get_static_file(path, url, stat_cache=stat_cache)
        found.made_of = path, url
        return found

    def serve(self, static_file: Any, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request for a file; when it has gone since it was looked for, that is the application's to do."""
        response = _open(static_file, environ)
        if response is not None and _has_another_size(response):  # collected anew, and not reloaded yet
            response.file.close()
            path, url = static_file.made_of
            try:
                static_file = self.files[url] = self.get_static_file(path, url)
                response = _open(static_file, environ)
            except (NotARegularFileError, OSError):
                response = None
        if response is None:
            return self.application(environ, start_response)  # type: ignore[no-any-return]
        status, headers, file = response.status, list(response.headers), response.file
        if file is not None and environ["REQUEST_METHOD"] == "HEAD":
            file.close()
            file = None
        if file is not None and "HTTP_RANGE" in environ:  # RFC 9110, 14.2: HEAD has no parts
            # If-Range is not compared: the whole is always right.
            size = int(dict(headers)["Content-Length"])
            part = None if "HTTP_IF_RANGE" in environ else part_asked_for(environ["HTTP_RANGE"], size)
            if part:
                status = HTTPStatus.PARTIAL_CONTENT
                headers = [header for header in headers if header[0] != "Content-Length"]
                headers.append(("Content-Range", f"bytes {part[0]}-{part[-1]}/{size}"))
                headers.append(("Content-Length", str(len(part))))  # the server sends no more than that
                file.seek(part[0])
            elif part is not None:
                status, headers = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, [("Content-Range", f"bytes */{size}")]
                file.close()
                file = None
        start_response(f"{status.value} {status.phrase}", headers)
        return environ["wsgi.file_wrapper"](file) if file is not None else []


def _files_below(
    directory: str, left_out: dict[str, str], above: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[str, os.stat_result]]:
    """All files that can be served, with their status; the others are added to ``left_out``.

    ``above`` are device and number of the directories on the way here: a link may lead back to one of them.
    """
    status = os.stat(directory)
    here = (status.st_dev, status.st_ino)
    if here in above:
        left_out[directory] = "it leads to a directory that holds it"
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                status = entry.stat()
                if stat.S_ISDIR(status.st_mode):
                    yield from _files_below(entry.path, left_out, (*above, here))
                elif not stat.S_ISREG(status.st_mode):
                    left_out[entry.path] = "it is neither file nor directory"
                elif not os.access(entry.path, os.R_OK):
                    left_out[entry.path] = os.strerror(errno.EACCES)
                else:
                    yield entry.path, status
            except OSError as error:
                left_out[entry.path] = str(error.strerror)


_tags_in = re.compile(r'"[^"]*"').findall


def _has_another_size(response: Any) -> bool:
    """Is the file of this answer not as long as its head says?"""
    return response.file is not None and os.fstat(response.file.fileno()).st_size != int(
        dict(response.headers)["Content-Length"]
    )


def _open(static_file: Any, environ: Environ) -> Any:
    """WhiteNoise's answer to a request without a range, None when the file is not there (any more)."""
    # For HEAD it would not open the file, and not notice.
    method = environ["REQUEST_METHOD"].replace("HEAD", "GET")
    fields = {key: value for key, value in environ.items() if key != "HTTP_RANGE"}
    # RFC 9110, 13.1.2: a list, or any, and weak ones are as good: a proxy that compresses makes ours weak.
    tags = fields.get("HTTP_IF_NONE_MATCH", "")
    if tags.strip() == "*" or static_file.etag in _tags_in(tags):
        fields["HTTP_IF_NONE_MATCH"] = static_file.etag
    for encodings in (fields.get("HTTP_ACCEPT_ENCODING", ""), ""):  # what lies compressed beside it may have gone alone
        try:
            return static_file.get_response(method, fields | {"HTTP_ACCEPT_ENCODING": encodings})
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
            pass
    return None
