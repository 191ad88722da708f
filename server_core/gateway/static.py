"""Serves directories of files beside an application, by WhiteNoise; knows no framework and no setting's origin."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from server_core.errors import AppLoadError, ConfigError
from server_core.gateway.environ import Environ
from server_core.gateway.inspection import Finding
from server_core.gateway.loader import Application

#: whether the file at a path, served at a URL, will never be another one
IsImmutable = Callable[[str, str], bool]

#: so many files that cannot be read are named
MOST_NAMED = 5


def is_installed() -> bool:
    """Can static files be served at all?"""
    return importlib.util.find_spec("whitenoise") is not None


def require(origin: str) -> None:
    """Raise ConfigError unless WhiteNoise is there; ``origin`` says who wants it."""
    if not is_installed():
        raise ConfigError(f'static_mounts ({origin}) needs whitenoise: pip install "prefork-serve[static]"')


def missing(mounts: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """The directories that are not there."""
    for url, directory in mounts:
        if not os.path.isdir(directory):
            yield Finding(
                "serve.W011",
                f"There is no directory {directory} (static_mounts), so nothing is served below {url}: make it, or "
                "leave the mount out.",
            )


def with_files(
    application: Application,
    mounts: Iterable[tuple[str, str]],
    *,
    fresh: bool,
    is_immutable: IsImmutable | None,
) -> tuple[Application, list[Finding]]:
    """``application``, with the files of directories below paths of URLs ("/static/"), and which of them are left out.

    With ``fresh`` files are looked for at each request, otherwise once, now.  A directory that does not exist is left
    out.  Raises AppLoadError for one that cannot be read.
    """
    files: Any = None
    served: list[str] = []
    for url, directory in mounts:
        if not os.path.isdir(directory):
            continue
        if files is None:
            from server_core.gateway.static_files import Files  # not where WhiteNoise is missing

            keywords = {"immutable_file_test": is_immutable} if is_immutable is not None else {}
            files = Files(application, autorefresh=fresh, **keywords)
        try:
            files.add_files(directory, prefix=url)
        except OSError as error:
            raise AppLoadError(f"static_mounts: {error.filename or directory} cannot be read: {error.strerror}")
        served.append(url)
    if not served:
        return application, []
    below = tuple(served)

    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        # WhiteNoise would decode every path; most are the application's.
        if not environ["PATH_INFO"].startswith(below):
            return application(environ, start_response)  # type: ignore[no-any-return]
        return files(environ, start_response)  # type: ignore[no-any-return]

    return answer, list(_unreadable(files.left_out))


def _unreadable(left_out: Mapping[str, str]) -> Iterator[Finding]:
    if left_out:
        named = ", ".join(f"{path!r} ({why})" for path, why in sorted(left_out.items())[:MOST_NAMED])
        more = f" and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
        yield Finding(
            "serve.W013",
            f"Files to be served (static_mounts) that cannot be read are left out: {named}{more}. Mend or remove them, "
            "and reload.",
        )
