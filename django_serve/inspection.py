"""Looks a Django project over before it serves, and says what it finds; whether that is refused is not its business.

Runs where the project has been imported, before the first worker is forked: at the start and at each reload.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.conf import settings as project
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections

from django_serve.translations import STATIC_MIDDLEWARE, holds_the_project
from server_core.gateway.inspection import Finding, is_public
from server_core.gateway.mount import inside
from server_core.gateway.static import is_installed
from server_core.settings import Settings

#: what PostgreSQL and MySQL allow unless somebody has changed it
_MOST_CONNECTIONS = {"postgresql": 100, "mysql": 151}
#: how long each of them may take to answer, in seconds, unless the project says: the start must not wait for a network
_CONNECT_SECONDS = 5


def inspect(settings: Settings) -> Iterator[Finding]:
    """Everything worth telling that SILENCED_SYSTEM_CHECKS does not name."""
    for finding in _look(settings):
        if finding.name not in project.SILENCED_SYSTEM_CHECKS:
            yield finding


def _look(settings: Settings) -> Iterator[Finding]:
    yield from _debug(settings)
    if not settings.profile.develops:
        yield from _static(settings)
        yield from _proxies(settings)
    yield from _databases(settings)
    # Last: they run the project's code, and when that raises, nothing more is found.
    yield from _system_checks(deploy=not settings.profile.develops)


def _system_checks(deploy: bool) -> list[Finding]:
    found = []
    for message in checks.run_checks(include_deployment_checks=deploy):
        if message.is_silenced() or message.level < checks.WARNING:
            continue
        where = f"{getattr(getattr(message.obj, '_meta', None), 'label', message.obj)}: " if message.obj else ""
        hint = f" {message.hint}" if message.hint else ""
        text = " ".join(f"{where}{message.msg}{hint}".split())
        is_error = message.level >= checks.ERROR
        if not is_error:  # manage.py check --deploy has the rest
            text = _first_sentence(text)
        found.append(Finding(str(message.id or "check"), text, is_error))
    return sorted(found)


def _first_sentence(text: str) -> str:
    end = re.search(r"\.(?= [A-Z])", text)
    return text[: end.end()] if end else text


def _debug(settings: Settings) -> Iterator[Finding]:
    public = [str(binding) for binding in settings.sockets.bind if is_public(binding)]
    if project.DEBUG and public:
        yield Finding(
            "serve.W001",
            f"DEBUG is on, and {', '.join(public)} (bind) can be reached from the network: everybody there can read "
            "the project's code and settings from an error page. Bind 127.0.0.1, or set DEBUG to False.",
        )


def _static(settings: Settings) -> Iterator[Finding]:
    url, root = str(project.STATIC_URL or ""), str(project.STATIC_ROOT or "")
    if not apps.is_installed("django.contrib.staticfiles") or not settings.paths.static:
        return
    if not url.startswith("/") or url.startswith("//"):
        return  # somebody else's to serve
    mounts = dict(settings.paths.static_mounts)
    script_name = settings.paths.script_name
    is_mounted = any(inside(url, script_name).startswith(inside(path, script_name)) for path in mounts)
    has_middleware = any(str(name).startswith(STATIC_MIDDLEWARE) for name in project.MIDDLEWARE)
    if not root:
        if not is_mounted and not has_middleware:
            yield Finding(
                "serve.W004",
                "STATIC_ROOT is not set, so there are no style sheets or scripts: set it, and run manage.py "
                "collectstatic; or switch static off where something else serves them.",
            )
        return
    if holds_the_project(root, project):
        yield Finding(
            "serve.W012",
            f"STATIC_ROOT ({root}) holds the project's own code and settings, which nobody should be served: choose a "
            "directory of its own, and run manage.py collectstatic.",
        )
        return
    if not os.path.isdir(root) or not os.listdir(root):
        yield Finding("serve.W005", f"There is nothing in STATIC_ROOT ({root}): run manage.py collectstatic.")
    else:
        yield from _manifest()
    if not is_mounted and not has_middleware:
        remedy = f"add {{{url!r}: {root!r}}} to static_mounts" if is_installed() else _INSTALL
        yield Finding(
            "serve.W006",
            f"Nobody serves STATIC_ROOT ({root}): {remedy}, or switch static off where the web server in front does.",
        )


_INSTALL = 'pip install "prefork-serve[static]"'


def _manifest() -> Iterator[Finding]:
    from django.contrib.staticfiles.storage import ManifestFilesMixin, staticfiles_storage

    try:
        if isinstance(staticfiles_storage, ManifestFilesMixin) and staticfiles_storage.read_manifest() is None:
            yield Finding("serve.W005", "The static storage has no manifest yet: run manage.py collectstatic.")
    except Exception as error:  # somebody's own storage
        yield Finding("serve.W005", f"The static storage cannot be read: {_told(error)}")


def _proxies(settings: Settings) -> Iterator[Finding]:
    if settings.proxy.forwarded_allow_ips:
        return
    named = [
        name
        for name in ("SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT")
        if getattr(project, name, None)
    ]
    if named:
        yield Finding(
            "serve.W007",
            f"{', '.join(named)} {'has' if len(named) == 1 else 'have'} no effect: no proxy is trusted. Name the one "
            "in front of this server in forwarded_allow_ips.",
        )


# --- databases


def _databases(settings: Settings) -> Iterator[Finding]:
    for alias in connections:
        try:
            connection = connections[alias]
        except Exception as error:  # its driver is not installed
            yield Finding("serve.W002", f"The database {alias!r} cannot be used: {_told(error)}")
            continue
        if connection.vendor == "unknown":
            continue  # a project without a database has a dummy
        with _alone(connection):
            try:
                yield from _migrations(alias, connection)
            except Exception as error:
                yield Finding(
                    "serve.W002",
                    f"Whether all migrations of the database {alias!r} are applied could not be found out: "
                    f"{_told(error)}",
                )
            most, source = _most_connections(connection)
        if not settings.profile.develops:
            workers, threads = settings.workers.workers, settings.workers.threads
            yield from connection_findings(alias, connection.settings_dict, workers, threads, most, source)


@contextmanager
def _alone(connection: Any) -> Iterator[None]:
    """A connection without a pool, whose threads and sockets the workers could not share, and without long patience."""
    before = connection.settings_dict.get("OPTIONS")
    if isinstance(before, dict):
        options = {name: value for name, value in before.items() if name != "pool"}
        if connection.vendor in _MOST_CONNECTIONS:
            options.setdefault("connect_timeout", _CONNECT_SECONDS)
        connection.settings_dict["OPTIONS"] = options
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = before


def _migrations(alias: str, connection: Any) -> Iterator[Finding]:
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if alias != DEFAULT_DB_ALIAS and not executor.recorder.has_table():
        return  # nobody has ever migrated it: a database of somebody else's
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    missing = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        yield Finding(
            "serve.W003",
            f"{len(missing)} migration{'s' if len(missing) > 1 else ''} of the database {alias!r} "
            f"{'are' if len(missing) > 1 else 'is'} not applied ({', '.join(missing[:5])}{more}): run manage.py migrate"
            f"{'' if alias == DEFAULT_DB_ALIAS else f' --database {alias}'}.",
        )


def _most_connections(connection: Any) -> tuple[int | None, str]:
    """How many connections the database takes, None when that is not known; and how this is known."""
    most = _MOST_CONNECTIONS.get(connection.vendor)
    if connection.vendor == "postgresql" and connection.connection is not None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SHOW max_connections")
                return int(cursor.fetchone()[0]), "allows"
        except Exception:  # it may say no, and the default is a good guess
            pass
    return most, "allows by default"


def connection_findings(
    alias: str, database: dict[str, Any], workers: int, threads: int, most: int | None, source: str
) -> Iterator[Finding]:
    """Whether the connections of ``workers`` × ``threads`` are more than ``most``, or than the pool of ``database``,
    which is an entry of DATABASES."""
    each = threads
    pool = (database.get("OPTIONS") or {}).get("pool")
    if pool:
        sizes = pool if isinstance(pool, dict) else {}
        least = sizes.get("min_size", 4)  # as psycopg_pool has it
        largest = sizes.get("max_size") or least
        if largest < threads:
            yield Finding(
                "serve.W008",
                f"The pool of the database {alias!r} has {largest} connections for the {threads} threads of a worker: "
                "requests will wait for one. Raise max_size, or lower threads.",
            )
        each = max(least, min(largest, threads))
    needed = workers * each
    if most is not None and needed > most:
        kept = database.get("CONN_MAX_AGE", 0)
        why = "kept open" if pool else "kept open (CONN_MAX_AGE)" if kept is None or kept else "opened at the same time"
        yield Finding(
            "serve.W009",
            f"{workers} workers × {each} connections = {needed} connections to the database {alias!r} can be {why}, "
            f"and it {source} {most}: lower workers or threads, or use a pool.",
        )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
