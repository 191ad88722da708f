"""Loads a Django project's WSGI application; runs in the forkserver or in a worker, never in the arbiter."""

from __future__ import annotations

from server_core.gateway.loader import Application, load_target


def load(target: str) -> Application:
    """Import ``module:callable``, then let go of what processes must not share."""
    application = load_target(target)
    from django.core.cache import caches
    from django.db import connections

    # A connection that was opened while importing would be used by all workers at once.
    connections.close_all()
    for cache in caches.all():
        cache.close()
    return application
