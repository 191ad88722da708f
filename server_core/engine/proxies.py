"""Knows which peers are proxies, and what they may say about the client; tells, once, what was not believed.

What is said where, and how it is read, ``http.forwarded`` and ``http.proxy_protocol`` know.
"""

from __future__ import annotations

from logging import Logger

from server_core.http.fields import Fields
from server_core.http.forwarded import Forwarding, trusted
from server_core.settings import Proxy


class Proxies:
    """``exist`` is False when no peer can be one, which spares each new connection the question.  ``take_hints``: they
    understand interim answers."""

    def __init__(self, settings: Proxy, log: Logger) -> None:
        self.protocol = settings.proxy_protocol
        self.take_hints = settings.proxy_early_hints
        self.exist = bool(settings.forwarded_allow_ips) or self.protocol != "off"
        self._settings = settings
        self._forwarding = Forwarding(settings)
        self._log = log
        self._told = False

    def speaks_first(self, address: str) -> bool:
        """Does this peer begin its connections with the PROXY protocol?"""
        return self.protocol != "off" and trusted(address, self._settings.proxy_allow_ips)

    def trusts(self, address: str) -> bool:
        """May this peer say who the client is?"""
        return self._forwarding.trusts(address)

    def client(self, fields: Fields, address: str, port: str, scheme: str, trust: bool) -> tuple[str, str, str]:
        """Address, port and scheme of the client behind a peer that has these, if we ``trust`` it; takes out of
        ``fields`` what is not to be believed.  Raises ProtocolError when a proxy contradicts itself."""
        peer = address
        if trust:
            told, told_scheme = self._forwarding.client(fields)
            if told:
                address, port = told, ""  # the port that we know is the proxy's
            scheme = told_scheme or scheme
        purged = self._forwarding.purge(fields, trust)
        if purged and not self._told:
            self._told = True
            self._tell(purged, peer, trust)
        return address, port, scheme

    def _tell(self, keys: list[str], peer: str, trust: bool) -> None:
        self._log.info(
            "%s from %s did not reach the application, because %s. Further cases are not told.",
            ", ".join(key.removeprefix("HTTP_").replace("_", "-").title() for key in keys),
            peer or "the peer of a unix socket",
            f"forwarded_header is {self._settings.forwarded_header}"
            if trust
            else "forwarded_allow_ips does not name this peer",
        )
