"""Loads a Django project's WSGI application; runs in the forkserver or in a worker, never in the arbiter."""

from __future__ import annotations

from django_serve.layer import settings_module
from server_core.errors import AppLoadError
from server_core.gateway.loader import Application, load_target


def load(target: str) -> Application:
    """Import ``module:callable`` and the views, then let go of what processes must not share."""
    try:
        application = load_target(target)
    except AppLoadError as error:
        raise AppLoadError(f"{error} (WSGI_APPLICATION in {settings_module()})", error.details)
    # Not before here: the module of the application may be what configures Django.
    from django.apps import apps
    from django.conf import settings
    from django.urls import get_resolver

    if hasattr(settings, "ROOT_URLCONF"):
        # Django would import the views at the first request.  Done here, the workers share them, and broken views are
        # noticed while the old generation still serves.
        _ = get_resolver().url_patterns
    if settings.DEBUG and apps.is_installed("django.contrib.staticfiles"):
        # As runserver does: without it a fresh project would have no style sheets in development, not even the admin.
        from django.contrib.staticfiles.handlers import StaticFilesHandler

        application = StaticFilesHandler(application)
    _let_go()
    return application


def _let_go() -> None:
    """Close connections that were opened while importing: all workers would use them at once."""
    from django.core.cache import caches
    from django.db import connections

    connections.close_all()
    for cache in caches.all(initialized_only=True):
        cache.close()
