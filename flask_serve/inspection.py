"""Looks a Flask application over before it serves, and says what it finds; refuses nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server_core.gateway.inspection import Finding, is_public
from server_core.settings import Settings

#: shorter secrets can be guessed: 16 random bytes are 32 digits in hexadecimal, 22 in base 64
LEAST_SECRET = 16
#: what tutorials have for a secret
_EXAMPLES = ("dev", "change", "secret", "example", "your", "insecure", "test")


def inspect(app: Any, settings: Settings) -> Iterator[Finding]:
    """Everything worth telling."""
    public = [str(binding) for binding in settings.sockets.bind if is_public(binding)]
    if app.debug and public:
        yield Finding(
            "serve.W001",
            f"Debug mode is on, and {', '.join(public)} (bind) can be reached from the network: everybody there can "
            "read the application's code, and with the debugger's PIN run their own. Bind 127.0.0.1, or leave --debug "
            "out.",
        )
    elif app.debug and not settings.profile.develops:
        yield Finding("serve.W014", "Debug mode is on in production (profile): leave --debug out.")
    if settings.profile.develops:
        return
    secret = app.config.get("SECRET_KEY")
    if isinstance(secret, str | bytes) and secret and (len(secret) < LEAST_SECRET or _is_example(secret)):
        yield Finding(
            "serve.W015",
            "SECRET_KEY can be guessed, and with it every session can be forged: set a long random one, such as "
            "python -c 'import secrets; print(secrets.token_hex())' makes.",
        )
    if app.config.get("PREFERRED_URL_SCHEME") == "https" and not (
        settings.speaks_tls or settings.proxy.forwarded_allow_ips
    ):
        yield Finding(
            "serve.W007",
            "PREFERRED_URL_SCHEME is https, but no proxy is trusted to say that a request came by it, so URLs made "
            "within requests begin with http. Name the one in front of this server in forwarded_allow_ips.",
        )


def _is_example(secret: str | bytes) -> bool:
    text = secret.decode("latin-1") if isinstance(secret, bytes) else str(secret)
    return text.lower().startswith(_EXAMPLES)
