"""Knows where a request that came by plain HTTP has to be sent to be made again by https; sends nothing."""

from __future__ import annotations

from server_core.config.bindings import DEFAULT_PORTS
from server_core.http.policy import path_and_query


def https_location(host: str, target: str, port: int) -> str:
    """The Location (RFC 9110, 10.2.2) for a request of ``target`` that ``admit`` has let in, as it was sent; ``host``
    is its Host field, and ``port`` where https is spoken.

    The authority is always there, so that a target such as //elsewhere/ leads nowhere else.
    """
    name = host if host.endswith("]") else host.rpartition(":")[0] or host  # an IPv6 address may have no port
    authority = name if port == DEFAULT_PORTS["https"] else f"{name}:{port}"
    return f"https://{authority}{path_and_query(target)}"
