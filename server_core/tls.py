"""Makes the TLS context of a certificate and its key, and says what is wrong with them; knows no connection.

``ssl`` is imported when a context is made and not before: it costs every process 4 MB, whether it speaks TLS or not.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from server_core.errors import ConfigError
from server_core.settings import Tls

if TYPE_CHECKING:
    import ssl

# What PEM (RFC 7468) calls the two; OpenSSL's own, older names are still in use.
_has_certificate = re.compile(rb"^-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----", re.MULTILINE).search
_has_key = re.compile(rb"^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----", re.MULTILINE).search


class Certificate(NamedTuple):
    """Where the certificate (with those that vouch for it) and its key are, and who said so.

    ``keyfile`` is None when the key is in ``certfile``.  ``pem`` holds both when there are no files: the server has
    made them for itself.
    """

    certfile: str
    keyfile: str | None
    certfile_origin: str
    keyfile_origin: str
    pem: bytes = b""


def certificate_of(settings: Tls, origins: Mapping[str, str]) -> Certificate | None:
    """The certificate that is meant, None for plain HTTP.  Raises ConfigError when its files are wrong."""
    if settings.certfile is None:
        return None
    certificate = Certificate(settings.certfile, settings.keyfile, origins["certfile"], origins["keyfile"])
    if not settings.is_adhoc:
        context_of(certificate)
    return certificate


def context_of(certificate: Certificate) -> ssl.SSLContext:
    """The context of all connections: TLS 1.2 and newer, and no renegotiation, which only attackers ask for.

    One for all workers that are forked from here: they share the keys of session tickets, so that a client resumes its
    session with any of them.  Raises ConfigError with one sentence about what is wrong with the files.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if certificate.pem:
        _load_from_memory(context, certificate.pem)
    else:
        _load_from_files(context, certificate)
    return context


def _load_from_memory(context: ssl.SSLContext, pem: bytes) -> None:
    import tempfile  # not before it is needed: it brings a megabyte of other modules

    with tempfile.NamedTemporaryFile(prefix="prefork-serve-") as file:  # of mode 600: OpenSSL reads nothing but files
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def _load_from_files(context: ssl.SSLContext, certificate: Certificate) -> None:
    import ssl

    where = f"{certificate.certfile!r} ({certificate.certfile_origin})"
    held = _read("certfile", certificate.certfile, certificate.certfile_origin)
    if not _has_certificate(held):
        raise ConfigError(
            f"certfile: {where} holds no certificate: it has to be in PEM form, which begins with "
            "-----BEGIN CERTIFICATE-----."
        )
    key_name, key_where = "certfile", where
    if certificate.keyfile is not None:
        key_name, key_where = "keyfile", f"{certificate.keyfile!r} ({certificate.keyfile_origin})"
        held = _read("keyfile", certificate.keyfile, certificate.keyfile_origin)
    if not _has_key(held):
        remedy = "name the file of the key too (keyfile)" if key_name == "certfile" else "it has to be in PEM form"
        raise ConfigError(f"{key_name}: {key_where} holds no private key: {remedy}.")

    def ask_nobody() -> bytes:
        raise ConfigError(
            f"{key_name}: the key in {key_where} is encrypted: give one that is not (openssl pkey -in KEY -out PLAIN), "
            "in a file that nobody else may read."
        )

    try:
        context.load_cert_chain(certificate.certfile, certificate.keyfile, ask_nobody)
    except ssl.SSLError as error:
        reason = error.reason or ""
        if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":  # the latter for keys of two kinds
            raise ConfigError(f"{key_name}: the key in {key_where} is not that of the certificate in {where}.")
        both = where if certificate.keyfile is None else f"{where} with keyfile {key_where}"
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
