"""What a Django project gets while it is being written: its files without setup, fresh templates, counted queries.

Nothing here runs in production.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as project
from django.core.handlers.exception import response_for_exception
from django.core.handlers.wsgi import WSGIHandler, get_path_info
from django.core.signals import request_finished
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.utils.autoreload import autoreload_started, file_changed
from django.views.static import serve

from server_core.console import QUERIES
from server_core.gateway.environ import Environ
from server_core.gateway.loader import Application
from server_core.gateway.mount import inside
from server_core.settings import Settings


def for_development(application: Application, settings: Settings, asgi: bool = False) -> Application:
    """``application`` with static files from their finders and uploaded ones, both only in debug mode."""
    if not project.DEBUG:
        return application
    if not asgi:
        return _counting(_with_files(application, settings)[0])
    from server_core.gateway.bridge import beside, pass_on

    files, below = _with_files(pass_on, settings)
    return beside(application, files, below) if below else application


def _with_files(application: Application, settings: Settings) -> tuple[Application, tuple[str, ...]]:
    """``application`` with files in front of it, and the paths below which they are."""
    script_name = settings.paths.script_name
    below = []
    media = _path_of(project.MEDIA_URL, script_name)
    if project.MEDIA_ROOT and media not in ("", "/"):
        application = _with_media(application, media)
        below.append(media)
    if apps.is_installed("django.contrib.staticfiles") and settings.paths.static and project.STATIC_URL:
        application = _with_static(application, script_name)
        below.append(_path_of(project.STATIC_URL, script_name))
    return application, tuple(path for path in below if path)


# --- files


def _path_of(url: str | None, script_name: str) -> str:
    """The path below which requests for files come here; "" when they go elsewhere."""
    parts = urlsplit(str(url or ""))
    return "" if parts.netloc else inside(parts.path, script_name)


def _with_static(application: Application, script_name: str) -> Application:
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    class Handler(StaticFilesHandler):
        """Django's own, for requests whose mount has been taken off their path."""

        def get_base_url(self) -> str:
            return inside(str(super().get_base_url()), script_name)

        def file_path(self, url: str) -> str:
            """``url`` is the whole path of a request, with the mount."""
            path: str = super().file_path(inside(url, script_name))
            return path

    return Handler(application)


def _with_media(application: Application, below: str) -> Application:
    """``application``, with MEDIA_ROOT below a path, as ``django.conf.urls.static.static()`` would have it."""

    class MediaHandler(WSGIHandler):
        def load_middleware(self, is_async: bool = False) -> None:
            """Files need none of the project's middleware."""

        def get_response(self, request: HttpRequest) -> HttpResponse:
            try:
                return serve(request, request.path_info[len(below) :], document_root=project.MEDIA_ROOT)
            except Exception as error:  # a file that is not there, a path that leads elsewhere
                return response_for_exception(request, error)

    media = MediaHandler()

    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        chosen = media if get_path_info(environ).startswith(below) else application
        return chosen(environ, start_response)  # type: ignore[no-any-return]

    return answer


# --- queries

_current = threading.local()


def _counting(application: Application) -> Application:
    """``application``, which puts the number of its queries, and their time, into the environ for the access log."""

    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        _current.environ = environ
        return application(environ, start_response)  # type: ignore[no-any-return]

    request_finished.connect(_count, dispatch_uid="prefork-serve")
    return answer


def _count(**_: object) -> None:
    """Django sends this signal when the response is closed, and has kept the queries since the request began."""
    environ = getattr(_current, "environ", None)
    if environ is None:
        return
    _current.environ = None
    queries = [query for connection in connections.all(initialized_only=True) for query in connection.queries_log]
    environ[QUERIES] = len(queries), sum(float(query.get("time") or 0) for query in queries)


# --- files that change


class Watches:
    """What the receivers of Django's ``autoreload_started`` take for a reloader: it notes what they want watched."""

    def __init__(self) -> None:
        self.extra_files: set[Path] = set()
        self.directory_globs: dict[Path, set[str]] = {}

    def watch_dir(self, path: str | Path, glob: str) -> None:
        """Watch the files below a directory that match a pattern."""
        self.directory_globs.setdefault(Path(path).absolute(), set()).add(glob)


_watches = Watches()


def places_to_watch() -> tuple[tuple[str, str], ...]:
    """Directories and patterns that the project, Django and its apps want watched (templates, translations)."""
    autoreload_started.send(sender=_watches)
    files = [(str(Path(file).absolute().parent), Path(file).name) for file in _watches.extra_files]
    globs = [(str(path), glob) for path, globs in _watches.directory_globs.items() for glob in globs]
    return tuple(sorted({*files, *globs}))


def changed(path: str) -> bool:
    """Tell the receivers of ``file_changed``; has one of them done all that is needed?"""
    return any(done for _, done in file_changed.send(sender=_watches, file_path=Path(path)))
