"""Makes the certificate that a server in development makes for itself, and keeps it for the next start.

Kept, because a browser's exception is for one certificate: it asks once a month, and not at each start.  Where it
cannot be kept it is made anew each time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from server_core.errors import ConfigError

if TYPE_CHECKING:
    from cryptography import x509

LIFE = timedelta(days=30)
#: one that ends sooner is replaced at the start
LEAST_LEFT = timedelta(days=1)
#: clocks of virtual machines and their hosts differ
SLACK = timedelta(hours=1)

#: what every certificate is for
LOCAL = ("localhost", "127.0.0.1", "::1")
#: hosts of bindings that nobody calls a server by
_EVERYWHERE = ("0.0.0.0", "::")


class Adhoc(NamedTuple):
    """``pem`` is the key and the certificate, ``until`` its end, ``path`` where it is kept, or ""."""

    pem: bytes
    until: datetime
    path: str


def require(origin: str) -> None:
    """Raise ConfigError unless cryptography is there; ``origin`` says who wants a certificate."""
    if importlib.util.find_spec("cryptography") is None:
        raise ConfigError(f'certfile adhoc ({origin}) needs cryptography: pip install "prefork-serve[tls]"')


def names_of(hosts: Iterable[str]) -> list[str]:
    """The names and addresses that a certificate is for when the server listens on ``hosts``."""
    return list(dict.fromkeys((*LOCAL, *(host.lower() for host in hosts if host not in _EVERYWHERE))))


def certificate_for(names: list[str]) -> Adhoc:
    """The certificate for ``names``: the one that was kept, or a new one."""
    path = _path(names)
    kept = _kept(path) if path else None
    if kept is not None:
        return kept
    pem, until = make(names)
    return Adhoc(pem, until, path if path and _keep(path, pem) else "")


def _path(names: list[str]) -> str:
    """One file for each set of names: two projects take turns without asking twice.  "" when there is no place for it:
    a relative one would be in the project, and is to be ignored (XDG Base Directory Specification)."""
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):
        home = os.path.expanduser("~")  # which stays as it is for an account without a home
        caches = os.path.join(home, ".cache") if os.path.isabs(home) else ""
    told = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:8]
    return os.path.join(caches, "prefork-serve", f"adhoc-{told}.pem") if caches else ""


def _kept(path: str) -> Adhoc | None:
    """What is there, if nobody else can have written or read it, if it can be used, and if it lasts."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
                return None
            pem = file.read()
        certificate = x509.load_pem_x509_certificate(pem)
        belongs = load_pem_private_key(pem, None).public_key() == certificate.public_key()
    except (OSError, ValueError, TypeError):  # TypeError for a key that is encrypted
        return None
    begin, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    # One that begins later was made by a clock that has been put right since.
    lasts = begin <= _now() and until - _now() > LEAST_LEFT
    return Adhoc(pem, until, path) if belongs and lasts else None


def _keep(path: str, pem: bytes) -> bool:
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(pem)
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        return False
    return True


def make(names: list[str]) -> tuple[bytes, datetime]:
    """A key on P-256, and a certificate that it has signed itself (RFC 5280), for a server and nothing else."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    whom = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "prefork-serve, for development"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0]),
        ]
    )
    begin = _now() - SLACK
    until = begin + LIFE
    usage = {
        name: name == "digital_signature"
        for name in (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        )
    }
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = x509.CertificateBuilder(
        subject_name=whom,
        issuer_name=whom,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=begin,
        not_valid_after=until,
    )
    for extension, critical in (
        (x509.SubjectAlternativeName([_general_name(name) for name in names]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.KeyUsage(**usage), True),
        (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (identifier, False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),
    ):
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    return pem, until


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)
