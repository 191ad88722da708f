"""Knows where a request that came by plain HTTP has to be sent to be made again by https; sends nothing."""

from __future__ import annotations

from server_core.config.bindings import DEFAULT_PORTS
from server_core.errors import ProtocolError
from server_core.http.policy import path_and_query


def https_location(host: str, target: str, port: int) -> str:
    """The Location (RFC 9110, 10.2.2) for a request of ``target`` that ``admit`` has let in, as it was sent; ``host``
    is its Host field, and ``port`` where https is spoken.

    The authority is always there, so that a target such as //elsewhere/ leads nowhere else.
    """
    name = host if host.endswith("]") else host.rpartition(":")[0] or host  # an IPv6 address may have no port
    authority = name if port == DEFAULT_PORTS["https"] else f"{name}:{port}"
    return f"https://{authority}{path_and_query(target)}"


def redirection(method: str, http11: bool, host: str, target: str, port: int) -> ProtocolError:
    """What a request is told where requests are only redirected: with its ``host``, "" when it has named none.

    Permanently, with method and body kept (308).  Clients of HTTP/1.0 are older than that status: where nothing has to
    be kept they get 301.
    """
    if not host:  # HTTP/1.0
        return ProtocolError(400, "no host to redirect to", "this port only redirects to https")
    status = 301 if not http11 and method in ("GET", "HEAD") else 308
    why = "plain HTTP is only redirected here (redirect_bind)"
    return ProtocolError(status, why, location=https_location(host, target, port))
