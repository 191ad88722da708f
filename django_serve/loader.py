"""Loads a Django project's application, WSGI or ASGI; runs in the forkserver or in a worker, never in the arbiter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django_serve.layer import application_setting, application_target, settings_module
from server_core.errors import AppLoadError
from server_core.gateway.inspection import Finding
from server_core.gateway.loader import Loaded, load_target
from server_core.settings import Settings
from server_core.workers import calls_asgi


def load(target: str, settings: Settings) -> Loaded:
    """Import ``module:callable`` and the views, then let go of what processes must not share.

    Without a target it is what the settings say: a front door that could not import them leaves that to us.
    """
    if settings.paths.script_name:
        # As manage.py does it for FORCE_SCRIPT_NAME: Django keeps the first STATIC_URL and MEDIA_URL that it makes.
        from django.urls import set_script_prefix

        set_script_prefix(settings.paths.script_name + "/")
    asgi = calls_asgi(settings.workers.worker_class)
    try:
        application = load_target(target or application_target(asgi))
    except AppLoadError as error:
        raise AppLoadError(f"{error} ({application_setting(asgi)} in {settings_module()})", error.details)
    # Not before here: the module of the application may be what configures Django.
    from django.conf import settings as project
    from django.urls import get_resolver

    from django_serve.inspection import inspect

    if hasattr(project, "ROOT_URLCONF"):
        # Django would import the views at the first request.  Done here, the workers share them, and broken views are
        # noticed while the old generation still serves.
        _ = get_resolver().url_patterns
    places: tuple[tuple[str, str], ...] = ()
    refresh: Callable[[str], bool] | None = None
    if settings.profile.develops:
        from django_serve.development import changed, for_development, places_to_watch

        application = for_development(application, settings, asgi)
        places, refresh = places_to_watch(), changed

    def look_over() -> Iterator[Finding]:
        try:
            yield from inspect(settings)
        finally:
            _let_go()

    _let_go()
    return Loaded(application, look_over, places, refresh, _is_hashed())


def _is_hashed() -> Callable[[str, str], bool] | None:
    """Which static files have a hash of their content in their names: those that the storage's manifest lists."""
    from django.apps import apps

    if not apps.is_installed("django.contrib.staticfiles"):
        return None
    from django.contrib.staticfiles.storage import staticfiles_storage

    try:
        names = {
            str(staticfiles_storage.path(name)) for name in getattr(staticfiles_storage, "hashed_files", {}).values()
        }
    except Exception:  # a storage elsewhere, or without a manifest yet: the inspection has a word for that
        return None
    return (lambda path, url: path in names) if names else None


def _let_go() -> None:
    """Close connections that were opened while importing: all workers would use them at once."""
    from django.core.cache import caches
    from django.db import connections

    connections.close_all()
    for connection in connections.all(initialized_only=True):
        pools = getattr(connection, "_connection_pools", None)  # without any, close_pool() would make one first
        if pools and (connection.settings_dict.get("OPTIONS") or {}).get("pool"):
            connection.close_pool()
    for cache in caches.all(initialized_only=True):
        cache.close()
