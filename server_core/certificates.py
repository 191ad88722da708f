"""Reads the files of certificates and keys, and says what they are not; whether they can be used, ``tls`` knows."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from typing import NamedTuple

from server_core.errors import ConfigError
from server_core.settings import Tls

# What PEM (RFC 7468) calls the two; OpenSSL's own, older names are still in use.
_has_certificate = re.compile(rb"^-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----", re.MULTILINE).search
_has_key = re.compile(rb"^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----", re.MULTILINE).search

#: bytes of a file; all authorities that browsers know are a quarter of a megabyte
MOST = 4 << 20


class Piece(NamedTuple):
    """What a file held when it was read, and who has named it: the ``setting``, and where that is from."""

    setting: str
    path: str
    origin: str
    data: bytes

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.path!r} ({self.origin})"

    def as_list(self) -> list[str]:
        """For ``of_list``, in another process."""
        return [self.setting, self.path, self.origin, self.data.decode("latin-1")]

    @classmethod
    def of_list(cls, parts: list[str]) -> Piece:
        """The opposite of ``as_list``."""
        setting, path, origin, data = parts
        return cls(setting, path, origin, data.encode("latin-1"))


class Pair(NamedTuple):
    """A certificate with those that vouch for it, and its key, if that is not in the same file."""

    certificate: Piece
    key: Piece | None

    @property
    def holds_key(self) -> Piece:
        """The file in which the key is."""
        return self.key or self.certificate

    def as_list(self) -> list[list[str]]:
        """For ``of_list``, in another process."""
        return [piece.as_list() for piece in (self.certificate, self.key) if piece is not None]

    @classmethod
    def of_list(cls, pieces: list[list[str]]) -> Pair:
        """The opposite of ``as_list``."""
        certificate, *key = map(Piece.of_list, pieces)
        return cls(certificate, key[0] if key else None)


class Material(NamedTuple):
    """All that has to be read before the processes that speak TLS may not read it any more."""

    default: Pair | None
    by_name: Mapping[str, Pair]  # of hosts, in lower case
    authorities: Piece | None  # those that vouch for clients

    @property
    def pieces(self) -> list[Piece]:
        """Of all files, in an order that depends on the settings alone."""
        pairs = [pair for pair in (self.default, *self.by_name.values()) if pair is not None]
        pieces = [*(piece for pair in pairs for piece in pair), self.authorities]
        return [piece for piece in pieces if piece is not None]

    def as_bytes(self) -> bytes:
        """For ``from_bytes``, in another process."""
        told = {
            "default": None if self.default is None else self.default.as_list(),
            "by_name": {name: pair.as_list() for name, pair in self.by_name.items()},
            "authorities": None if self.authorities is None else self.authorities.as_list(),
        }
        return json.dumps(told).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> Material:
        """The opposite of ``as_bytes``."""
        told = json.loads(data)
        return cls(
            None if told["default"] is None else Pair.of_list(told["default"]),
            {name: Pair.of_list(pieces) for name, pieces in told["by_name"].items()},
            None if told["authorities"] is None else Piece.of_list(told["authorities"]),
        )


def paths_of(settings: Tls) -> list[str]:
    """All files that ``read_all`` reads."""
    paths = [settings.certfile, settings.keyfile] if settings.has_files else []
    paths += [path for _, *pair in settings.sni_certificates for path in pair]
    return list(dict.fromkeys(path for path in (*paths, settings.ca_certs) if path))


def read_all(settings: Tls, origins: Mapping[str, str], adhoc: bytes = b"") -> Material:
    """Read the files that the settings name.  ``adhoc`` is the certificate that the server has made for itself, with
    its key; b"" while it has none.

    Raises ConfigError with one sentence for a file that cannot be read, or holds something else; so do the following.
    """
    return Material(
        read_default(settings, origins, adhoc),
        {name: read_named(path, key, origins) for name, path, key in settings.sni_certificates},
        read_authorities(settings, origins),
    )


def read_default(settings: Tls, origins: Mapping[str, str], adhoc: bytes) -> Pair | None:
    """The certificate of those who come for no name that has its own."""
    assert settings.certfile is not None
    if settings.has_files:
        return _pair("certfile", settings.certfile, "keyfile", settings.keyfile, origins)
    return Pair(Piece("certfile", settings.certfile, origins["certfile"], adhoc), None) if adhoc else None


def read_named(path: str, key: str, origins: Mapping[str, str]) -> Pair:
    """One of ``sni_certificates``; ``key`` is "" when it is in the same file."""
    return _pair("sni_certificates", path, "sni_certificates", key or None, origins)


def read_authorities(settings: Tls, origins: Mapping[str, str]) -> Piece | None:
    """Those that vouch for clients, if there are any."""
    return None if settings.ca_certs is None else _certificates("ca_certs", settings.ca_certs, origins)


def _pair(setting: str, path: str, key_setting: str, key_path: str | None, origins: Mapping[str, str]) -> Pair:
    pair = Pair(
        _certificates(setting, path, origins), None if key_path is None else _read(key_setting, key_path, origins)
    )
    if not _has_key(pair.holds_key.data):
        how = "NAME=CERTIFICATE:KEY" if setting == key_setting else key_setting
        remedy = "it has to be in PEM form" if pair.key else f"name the file of the key too ({how})"
        raise ConfigError(f"{pair.holds_key.setting}: {pair.holds_key.where} holds no private key: {remedy}.")
    return pair


def _certificates(setting: str, path: str, origins: Mapping[str, str]) -> Piece:
    piece = _read(setting, path, origins)
    if not _has_certificate(piece.data):
        raise ConfigError(
            f"{setting}: {piece.where} holds no certificate: it has to be in PEM form, which begins with "
            "-----BEGIN CERTIFICATE-----."
        )
    return piece


def _read(setting: str, path: str, origins: Mapping[str, str]) -> Piece:
    origin = origins[setting]
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # which waits for nobody at a pipe
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{setting}: {path!r} ({origin}) is no file.")
            data = file.read(MOST + 1)  # no more: the arbiter reads whatever is put there while it serves
            if len(data) > MOST:
                raise ConfigError(f"{setting}: {path!r} ({origin}) has more than {MOST >> 20} MB: no certificate does.")
            return Piece(setting, path, origin, data)
    except IsADirectoryError:
        raise ConfigError(f"{setting}: {path!r} ({origin}) is no file.")
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path!r} ({origin}): {error.strerror}.")
