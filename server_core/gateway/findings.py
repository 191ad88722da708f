"""All findings of our own by name: what each means, whatever its text says of a project; finds nothing itself.

A name is never given twice, also not after its finding is gone: people silence findings by name (``silenced_checks``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ALWAYS, PRODUCTION = "always", "in production"


class Meaning(NamedTuple):
    """``what`` it means, which applications have it (``of``, packages that find it), and ``when`` it is looked for."""

    what: str
    of: tuple[str, ...]
    when: str


DJANGO, FLASK, ANY = "django_serve", "flask_serve", "server_core"

FINDINGS: Mapping[str, Meaning] = {
    "serve.E001": Meaning(
        "`SERVE` has a name or a value that is none; this is a system check and shows in `manage.py check`, too",
        (DJANGO,),
        ALWAYS,
    ),
    "serve.W001": Meaning("debug mode is on, and the network can reach the server", (DJANGO, FLASK), ALWAYS),
    "serve.W002": Meaning("a database cannot be used, or be asked about its migrations", (DJANGO,), ALWAYS),
    "serve.W003": Meaning("migrations are not applied", (DJANGO,), ALWAYS),
    "serve.W004": Meaning("`STATIC_ROOT` is not set", (DJANGO,), PRODUCTION),
    "serve.W005": Meaning(
        "nothing has been collected in `STATIC_ROOT`, or the manifest is missing", (DJANGO,), PRODUCTION
    ),
    "serve.W006": Meaning("nobody serves `STATIC_ROOT`", (DJANGO,), PRODUCTION),
    "serve.W007": Meaning(
        "the project relies on a proxy (`SECURE_PROXY_SSL_HEADER`, `USE_X_FORWARDED_…`; `PREFERRED_URL_SCHEME` of "
        "Flask), but none is trusted",
        (DJANGO, FLASK),
        PRODUCTION,
    ),
    "serve.W008": Meaning("the connection pool of a database is smaller than `threads`", (DJANGO,), PRODUCTION),
    "serve.W009": Meaning("`workers` × `threads` is more than the database has connections", (DJANGO,), PRODUCTION),
    "serve.W010": Meaning("the inspection itself could not be finished", (ANY,), ALWAYS),
    "serve.W011": Meaning("a directory of `static_mounts` does not exist", (ANY,), ALWAYS),
    "serve.W012": Meaning("`STATIC_ROOT` holds the project's own code", (DJANGO,), PRODUCTION),
    "serve.W013": Meaning(
        "files below `static_mounts` cannot be read (broken links, permissions), and are left out", (ANY,), PRODUCTION
    ),
    "serve.W014": Meaning("debug mode is on (Django has `security.W018` for it)", (FLASK,), PRODUCTION),
    "serve.W015": Meaning(
        "`SECRET_KEY` can be guessed: shorter than 16 characters, or it begins like those of tutorials",
        (FLASK,),
        PRODUCTION,
    ),
    "serve.W016": Meaning(
        "the settings have a name like `SERVE_WORKERS`, which is how Flask has it; here it is a key of `SERVE`. This "
        "is a system check, too",
        (DJANGO,),
        ALWAYS,
    ),
}
