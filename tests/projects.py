"""Copies of the example projects, and a small browser: what tests of whole sites share."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from functools import cache
from http.cookiejar import CookieJar
from pathlib import Path

from live import PATIENCE, Answer, LiveServer

EXAMPLES = Path(__file__).parents[1] / "example_projects"
MANAGE_SERVE = [sys.executable, "manage.py", "serve"]
FLASK = [sys.executable, "-m", "flask"]


def copy_of(name: str, folder: Path) -> Path:
    """A copy of an example project that a test may edit, without what a developer's own runs have left there."""
    return Path(
        shutil.copytree(
            EXAMPLES / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*", "media", "instance", "staticfiles"),
        )
    )


def run(command: list[str], folder: Path, **env: str) -> tuple[int, str]:
    """Run a command to its end; its exit status, and all that it wrote."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment() | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout


def clean_environment() -> dict[str, str]:
    """The environment without what would change a server's settings."""
    ours = ("SERVE_", "FLASK_", "DJANGO_", "SHOP_", "NOTES_")
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(ours) and key not in ("PORT", "WEB_CONCURRENCY")
    }


def manage(project: Path, *arguments: str, **env: str) -> tuple[int, str]:
    """Run a management command of the shop to its end; its exit status, and all that it wrote."""
    return run([sys.executable, "manage.py", *arguments], project, **env)


def shop_with_goods(folder: Path) -> Path:
    """A copy of the shop with a database that is migrated and seeded."""
    project = copy_of("django_shop", folder)
    (project / "db.sqlite3").write_bytes(_goods())
    return project


@cache
def _goods() -> bytes:
    """The database of a fresh shop, made once."""
    with tempfile.TemporaryDirectory() as folder:
        project = copy_of("django_shop", Path(folder))
        for command in ("migrate", "seed"):
            status, text = manage(project, command)
            assert status == 0, text
        return (project / "db.sqlite3").read_bytes()


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file}"
    file.write_text(text.replace(old, new))


class Browser:
    """Keeps cookies, follows redirects, fills in Django's CSRF token."""

    def __init__(self, server: LiveServer) -> None:
        self._url = server.url
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> Answer:
        return self._open(urllib.request.Request(self._url + path))

    def post(self, path: str, fields: dict[str, str], file: tuple[str, bytes] | None = None) -> Answer:
        """Send a form; with ``file`` (name, content) as multipart, in the field "file"."""
        body = urllib.parse.urlencode(fields).encode()
        kind = "application/x-www-form-urlencoded"
        if file is not None:
            kind, body = _multipart(fields, *file)
        return self._open(urllib.request.Request(self._url + path, body, {"Content-Type": kind}))

    def submit(self, page: str, path: str, file: tuple[str, bytes] | None = None, **fields: str) -> Answer:
        """Look at ``page`` for its token, then send its form to ``path``."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(page).text)
        assert token is not None, f"{page} has no token"
        return self.post(path, {"csrfmiddlewaretoken": token[1], **fields}, file)

    def _open(self, request: urllib.request.Request) -> Answer:
        try:
            response = self._opener.open(request, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            fields = {key.lower(): value for key, value in response.headers.items()}
            return Answer(response.status, fields, response.read())


def _multipart(fields: dict[str, str], name: str, content: bytes) -> tuple[str, bytes]:
    mark = b"-----------------------------a-boundary-that-is-nowhere-else"
    parts = [f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode() for key, value in fields.items()]
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: application/octet-stream'
    parts.append(head.encode() + b"\r\n\r\n" + content)
    body = b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + mark + b"--\r\n"
    return f"multipart/form-data; boundary={mark.decode()}", body
