"""Makes the TLS contexts of certificates and their keys, and says why one cannot be used; knows no connection.

``ssl`` is imported when a context is made and not before: it costs every process 4 MB, whether it speaks TLS or not.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from logging import Logger
from time import monotonic
from typing import TYPE_CHECKING, Any

from server_core.certificates import Material, Pair, Piece
from server_core.errors import ConfigError, ServeError, StartError
from server_core.process import memory_directory
from server_core.settings import Tls
from server_core.shelf import Shelf

if TYPE_CHECKING:
    import ssl

#: what a list of ciphers has besides ciphers: rules that take some away or put them in order
_RULES = ("!", "-", "+", "@")
#: the most that ``Again`` waits
LONGEST_PAUSE_SECONDS = 60.0


def import_early() -> None:
    """Import what contexts need: called while all of Python can be read, before another account is taken on."""
    for name in ("ssl", "tempfile"):
        importlib.import_module(name)


def judge(settings: Tls, origins: Mapping[str, str], material: Material) -> None:
    """Raise ConfigError with one sentence about what cannot be used."""
    _judge_ciphers(settings.ciphers, origins["ciphers"])
    pairs = list(material.by_name.values())
    if material.default is not None:
        pairs.append(material.default)
    for pair in pairs:
        context_of(pair, material.authorities, settings, origins)
    if not pairs:
        judge_authorities(material.authorities)


def judge_pair(pair: Pair | None, settings: Tls, origins: Mapping[str, str]) -> None:
    """The same about one certificate, and nothing else."""
    if pair is not None:
        context_of(pair, None, settings, origins)


def judge_authorities(authorities: Piece | None) -> None:
    """The same about those that vouch for clients."""
    import ssl

    if authorities is not None:
        _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), authorities)


def _judge_ciphers(ciphers: str, origin: str) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # One by one: OpenSSL passes over what it does not know, if only it knows anything in the list.
    parts = [part for part in re.split("[:, ]+", ciphers) if part and part[0] not in _RULES]
    for part in parts:
        try:
            context.set_ciphers(f"{part}:@SECLEVEL=0")
        except (ssl.SSLError, UnicodeEncodeError):  # the latter for bytes of the environment that are no text
            raise ConfigError(
                f"ciphers: {ciphers!r} ({origin}) names {part!r}, which is no cipher for TLS 1.2 that OpenSSL has "
                "here: openssl ciphers -v lists them."
            )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise ConfigError(f"ciphers: {ciphers!r} ({origin}) leaves no cipher: name some that are strong enough.")
    if not any(map(_protects, context.get_ciphers())):
        raise ConfigError(
            f"ciphers: {ciphers!r} ({origin}) leaves none for TLS 1.2 that encrypts and proves by the certificate "
            "whose server it is: name some that do."
        )


def _protects(cipher: Mapping[str, Any]) -> bool:
    """Not those of TLS 1.3, which are always there, nor those that need a secret or password instead."""
    return (
        cipher["auth"] in ("auth-rsa", "auth-ecdsa")
        and cipher["strength_bits"] > 0
        and not cipher["kea"].endswith(("psk", "srp"))
    )


def context_of(pair: Pair, authorities: Piece | None, settings: Tls, origins: Mapping[str, str]) -> ssl.SSLContext:
    """The context of a certificate; ``origins`` tell who has said what, and ``judge`` has seen the settings.

    One for all workers that are forked from here: they share the keys of session tickets, so that a client resumes its
    session with any of them.  Raises ConfigError with one sentence about what cannot be used.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion[settings.ssl_minimum_version.replace(".", "_")]
    context.options |= ssl.OP_NO_RENEGOTIATION  # which only attackers ask for
    context.set_ciphers(settings.ciphers)
    # Who offers other protocols alone is served nevertheless, although RFC 7301 (3.2) wants it refused: Python cannot,
    # and such a client hangs up by itself when it sees that none of them was chosen.
    context.set_alpn_protocols(["http/1.1"])
    if authorities is not None:
        _trust(context, authorities)
        context.verify_mode = {"optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}[settings.cert_reqs]
    _load(context, pair, settings, origins)
    return context


def _trust(context: ssl.SSLContext, authorities: Piece) -> None:
    import ssl

    try:
        with _as_file(authorities.data) as name:
            context.load_verify_locations(name)
    except ssl.SSLError:
        raise ConfigError(
            f"{authorities.setting}: {authorities.where} cannot be used: what is between its lines is damaged."
        )
    except OSError as error:
        raise _no_file(authorities, error)


def _load(context: ssl.SSLContext, pair: Pair, settings: Tls, origins: Mapping[str, str]) -> None:
    import ssl

    certificate, key, holds_key = pair.certificate, pair.key, pair.holds_key
    asked = False

    def password() -> bytes:
        nonlocal asked
        asked = True
        if settings.keyfile_password is None:
            raise ConfigError(
                f"{holds_key.setting}: the key in {holds_key.where} is encrypted: set SERVE_KEYFILE_PASSWORD in the "
                "environment (keyfile_password), or give one that is not (openssl pkey -in KEY -out PLAIN), in a file "
                "that nobody else may read."
            )
        return settings.keyfile_password.encode("utf-8", "surrogateescape")

    try:
        with ExitStack() as files:
            certfile = files.enter_context(_as_file(certificate.data))
            keyfile = files.enter_context(_as_file(key.data)) if key is not None else None
            context.load_cert_chain(certfile, keyfile, password)
    except ssl.SSLError as error:
        reason = error.reason or ""
        if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":  # the latter for keys of two kinds
            raise ConfigError(
                f"{holds_key.setting}: the key in {holds_key.where} is not that of the certificate in "
                f"{certificate.where}."
            )
        if asked:
            raise ConfigError(
                f"{holds_key.setting}: the key in {holds_key.where} cannot be decrypted: keyfile_password "
                f"({origins['keyfile_password']}) is not its password, or the file is damaged."
            )
        both = certificate.where if key is None else f"{certificate.where} with {key.setting} {key.where}"
        why = f"OpenSSL says {reason.replace('_', ' ').lower()!r}" if reason else "what is between its lines is damaged"
        raise ConfigError(f"{certificate.setting}: {both} cannot be used: {why}.")
    except OSError as error:
        raise _no_file(certificate, error)


def _no_file(piece: Piece, error: OSError) -> StartError:
    return StartError(
        f"{piece.setting}: {piece.where} cannot be handed to OpenSSL, which reads nothing but files, because no "
        f"temporary file can be made: {error.strerror}"
    )


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """The name of a file that holds ``data``, which nobody else may read."""
    import tempfile  # not before it is needed: it brings a megabyte of other modules

    # Keys should not be written to a disk, where they might be found later.
    with tempfile.NamedTemporaryFile(prefix="prefork-serve-", dir=memory_directory()) as file:
        file.write(data)
        file.flush()
        yield file.name


class Choice:
    """Which certificate a client gets: that of the name for which it comes (SNI), or the default.

    ``context`` is what all connections begin with.  It stays the same as long as this process lives, for it has the
    keys of session tickets, which all workers share; ``take`` changes what is chosen.  ``make`` makes the context of a
    certificate, with the authorities of clients; one that has a ``sni_callback`` already chooses by itself.
    """

    def __init__(self, make: Callable[[Pair, Piece | None], ssl.SSLContext], material: Material) -> None:
        import ssl

        self._make = make
        self.take(material)
        self.context = self._default_and_others[0]
        # The property of Python's own class puts each name through its codec for IDNA first, and whatever is no name,
        # which a client may well send, would end as a traceback in the log.
        base: Any = super(ssl.SSLContext, ssl.SSLContext)
        if self.context.sni_callback is None:
            base.sni_callback.__set__(self.context, self._choose)

    def take(self, material: Material) -> None:
        """From now on new connections get these certificates.  When one cannot be used, all stays as it is."""
        assert material.default is not None
        others = {name: self._make(pair, material.authorities) for name, pair in material.by_name.items()}
        self._default_and_others = self._make(material.default, material.authorities), others

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        chosen, others = self._default_and_others  # at once: another thread may be changing them
        if name and others:
            name = name.lower()
            chosen = others.get(name) or others.get(f"*.{name.partition('.')[2]}") or chosen
        if chosen is not connection.context:
            connection.context = chosen


class Again:
    """When something is tried again that has failed, for the reason may pass (no descriptors, no memory): first ``at``
    in monotonic seconds, and each time later."""

    def __init__(self, at: float = 0.0) -> None:
        self._at = at
        self._pause = 1.0
        self._told = ""

    def is_due(self, now: float) -> bool:
        """Is it time?"""
        return now >= self._at

    def later(self, now: float, why: str) -> bool:
        """It has failed once more.  Returns whether that has to be told: whether ``why`` is another reason than the
        last time."""
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._at = now + self._pause
        is_new = why != self._told
        self._told = why
        return is_new


class Renewed:
    """Takes what the arbiter has laid on its ``shelf`` since it had the number ``seen``."""

    def __init__(self, shelf: Shelf, seen: int, choice: Choice, log: Logger) -> None:
        self._shelf = shelf
        self._seen = seen
        self._choice = choice
        self._log = log
        self._again = Again()

    def take_up(self) -> None:
        """To be called before the first connection is made, and about once a second from then on."""
        if self._shelf.number == self._seen or not self._again.is_due(monotonic()):
            return
        found = self._shelf.take()
        if found is None:
            return
        number, data = found
        try:
            self._choice.take(Material.from_bytes(data))
        except StartError as error:  # of the machine
            if self._again.later(monotonic(), str(error)):
                self._log.error("Renewed certificates are not used here yet, but those from before: %s", error)
            return
        except ServeError as error:
            details = f"\n{error.details}" if error.details else ""
            self._log.error("Renewed certificates are not used here, but those from before: %s%s", error, details)
        self._seen, self._again = number, Again()


def pass_over_nonsense() -> None:
    """Let names that are no ASCII (SNI) end their handshakes without a word in the log: anybody can send them, and
    Python tells of each as of an error that nobody has handled."""
    tell = sys.unraisablehook

    def tell_others(error: sys.UnraisableHookArgs) -> None:
        if not (isinstance(error.object, bytes) and error.exc_type is UnicodeDecodeError):
            tell(error)

    sys.unraisablehook = tell_others
