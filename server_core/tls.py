"""Makes the TLS context of a certificate and its key, and says what is wrong with them; knows no connection.

``ssl`` is imported when a context is made and not before: it costs every process 4 MB, whether it speaks TLS or not.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING

from server_core.errors import ConfigError
from server_core.settings import Tls

if TYPE_CHECKING:
    import ssl

# What PEM (RFC 7468) calls the two; OpenSSL's own, older names are still in use.
_has_certificate = re.compile(rb"^-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----", re.MULTILINE).search
_has_key = re.compile(rb"^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----", re.MULTILINE).search


def context_of(settings: Tls, origins: Mapping[str, str], pem: bytes = b"") -> ssl.SSLContext:
    """The context of all connections: TLS 1.2 and newer, and no renegotiation, which only attackers ask for.

    ``pem`` are the certificate and the key that the server has made for itself, else the files of ``settings`` count;
    ``origins`` tell who has named these.

    One for all workers that are forked from here: they share the keys of session tickets, so that a client resumes its
    session with any of them.  Raises ConfigError with one sentence about what is wrong with the files.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if pem:
        _load_from_memory(context, pem)
    else:
        _load_from_files(context, settings, origins)
    return context


def _load_from_memory(context: ssl.SSLContext, pem: bytes) -> None:
    import tempfile  # not before it is needed: it brings a megabyte of other modules

    with tempfile.NamedTemporaryFile(prefix="prefork-serve-") as file:  # of mode 600: OpenSSL reads nothing but files
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def _load_from_files(context: ssl.SSLContext, settings: Tls, origins: Mapping[str, str]) -> None:
    import ssl

    certfile, keyfile = settings.certfile, settings.keyfile
    assert certfile is not None
    where = f"{certfile!r} ({origins['certfile']})"
    held = _read("certfile", certfile, origins["certfile"])
    if not _has_certificate(held):
        raise ConfigError(
            f"certfile: {where} holds no certificate: it has to be in PEM form, which begins with "
            "-----BEGIN CERTIFICATE-----."
        )
    key_name, key_where = "certfile", where
    if keyfile is not None:
        key_name, key_where = "keyfile", f"{keyfile!r} ({origins['keyfile']})"
        held = _read("keyfile", keyfile, origins["keyfile"])
    if not _has_key(held):
        remedy = "name the file of the key too (keyfile)" if key_name == "certfile" else "it has to be in PEM form"
        raise ConfigError(f"{key_name}: {key_where} holds no private key: {remedy}.")

    def ask_nobody() -> bytes:
        raise ConfigError(
            f"{key_name}: the key in {key_where} is encrypted: give one that is not (openssl pkey -in KEY -out PLAIN), "
            "in a file that nobody else may read."
        )

    try:
        context.load_cert_chain(certfile, keyfile, ask_nobody)
    except ssl.SSLError as error:
        reason = error.reason or ""
        if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":  # the latter for keys of two kinds
            raise ConfigError(f"{key_name}: the key in {key_where} is not that of the certificate in {where}.")
        both = where if keyfile is None else f"{where} with keyfile {key_where}"
        why = f"OpenSSL says {reason.replace('_', ' ').lower()!r}" if reason else "what is between its lines is damaged"
        raise ConfigError(f"certfile: {both} cannot be used: {why}.")


def _read(setting: str, path: str, origin: str) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # OpenSSL reads it once more: a pipe would be empty then
            raise ConfigError(f"{setting}: {path!r} ({origin}) is no file.")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path!r} ({origin}): {error.strerror}.")
