"""Looks a Django project over before it serves, and says what it finds; whether that is refused is not its business.

Runs where the project has been imported, before the first worker is forked: at the start and at each reload.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings as project
from django.core import checks
from django.db import connections

from django_serve.translations import STATIC_MIDDLEWARE
from server_core.gateway.inspection import Finding, is_public
from server_core.gateway.static import is_installed
from server_core.settings import Settings

#: what PostgreSQL and MySQL allow unless somebody has changed it
_MOST_CONNECTIONS = {"postgresql": 100, "mysql": 151}


def inspect(settings: Settings) -> list[Finding]:
    """Everything worth telling; system checks first, as ``manage.py check`` has them."""
    found = [*_system_checks(deploy=not settings.profile.develops), *_debug(settings), *_migrations()]
    if not settings.profile.develops:
        found += [*_static(settings), *_proxies(settings), *_connections(settings)]
    return found


def _system_checks(deploy: bool) -> list[Finding]:
    found = []
    for message in checks.run_checks(include_deployment_checks=deploy):
        if message.is_silenced() or message.level < checks.WARNING:
            continue
        where = f"{message.obj}: " if message.obj is not None else ""
        hint = f" {message.hint}" if message.hint else ""
        text = " ".join(f"{where}{message.msg}{hint}".split())
        is_error = message.level >= checks.ERROR
        if not is_error:  # manage.py check --deploy has the rest
            text = _first_sentence(text)
        found.append(Finding(message.id or "check", text, is_error))
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


def _migrations() -> Iterator[Finding]:
    from django.db.migrations.executor import MigrationExecutor

    for alias in connections:
        connection = connections[alias]
        if not connection.settings_dict.get("ENGINE") or connection.vendor == "unknown":
            continue  # a project without a database has a dummy
        try:
            executor = MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except Exception as error:
            yield Finding(
                "serve.W002",
                f"Whether all migrations of the database {alias!r} are applied could not be found out: "
                f"{type(error).__name__}: {' '.join(str(error).split())}",
            )
            continue
        missing = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            yield Finding(
                "serve.W003",
                f"{len(missing)} migration{'s' if len(missing) > 1 else ''} of the database {alias!r} "
                f"{'are' if len(missing) > 1 else 'is'} not applied ({', '.join(missing[:5])}{more}): run "
                "manage.py migrate.",
            )


def _static(settings: Settings) -> Iterator[Finding]:
    if not apps.is_installed("django.contrib.staticfiles") or not str(project.STATIC_URL or "").startswith("/"):
        return
    if not settings.paths.static:
        return
    if not project.STATIC_ROOT:
        yield Finding(
            "serve.W004",
            "STATIC_ROOT is not set, so there are no style sheets or scripts: set it, and run manage.py collectstatic; "
            "or switch static off where something else serves them.",
        )
        return
    root = str(project.STATIC_ROOT)
    if not os.path.isdir(root) or not os.listdir(root):
        yield Finding("serve.W005", f"There is nothing in STATIC_ROOT ({root}): run manage.py collectstatic.")
    else:
        yield from _manifest()
    if not is_installed() and not any(str(name).startswith(STATIC_MIDDLEWARE) for name in project.MIDDLEWARE):
        yield Finding(
            "serve.W006",
            f'Nobody serves STATIC_ROOT ({root}): pip install "prefork-serve[static]", or switch static off where the '
            "web server in front does.",
        )


def _manifest() -> Iterator[Finding]:
    from django.contrib.staticfiles.storage import ManifestFilesMixin, staticfiles_storage

    try:
        if isinstance(staticfiles_storage._wrapped or staticfiles_storage, ManifestFilesMixin) and (
            staticfiles_storage.read_manifest() is None
        ):
            yield Finding("serve.W005", "The static storage has no manifest yet: run manage.py collectstatic.")
    except Exception as error:  # somebody's own storage
        yield Finding("serve.W005", f"The static storage cannot be read: {type(error).__name__}: {error}")


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


def _connections(settings: Settings) -> Iterator[Finding]:
    workers, threads = settings.workers.workers, settings.workers.threads
    for alias in connections:
        connection = connections[alias]
        options = connection.settings_dict.get("OPTIONS") or {}
        pool = options.get("pool") if isinstance(options, dict) else None
        each = threads
        if pool:
            each = pool.get("max_size", 4) if isinstance(pool, dict) else 4  # psycopg_pool's default
            if each < threads:
                yield Finding(
                    "serve.W008",
                    f"The pool of the database {alias!r} has {each} connections for the {threads} threads of a worker: "
                    "requests will wait for one. Raise max_size, or lower threads.",
                )
        most = _MOST_CONNECTIONS.get(connection.vendor)
        if most is None:
            continue
        most, source = _asked(connection) or (most, "allows by default")
        needed = workers * each
        if needed > most:
            kept = connection.settings_dict.get("CONN_MAX_AGE")
            why = "kept open (CONN_MAX_AGE)" if kept is None or kept > 0 else "opened at the same time"
            yield Finding(
                "serve.W009",
                f"{workers} workers × {each} connections = {needed} connections to the database {alias!r} can be "
                f"{why}, and it {source} {most}: lower workers or threads, or use a pool.",
            )


def _asked(connection: Any) -> tuple[int, str] | None:
    """What the database itself says; it has been connected to for its migrations."""
    if connection.vendor != "postgresql" or connection.connection is None:
        return None
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW max_connections")
            return int(cursor.fetchone()[0]), "allows"
    except Exception:  # it may say no, and the default is a good guess
        return None
