"""Certificates for tests: an authority, what it has signed, keys of several kinds."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PRIVATE = serialization.PrivateFormat.PKCS8


class Authority:
    """Signs certificates for localhost; ``path`` is what a client has to trust."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "authority.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        self._certificate = self._sign(name, name, self._key.public_key(), is_authority=True)
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self, subject: x509.Name, issuer: x509.Name, key: object, *, is_authority: bool, hosts: tuple[str, ...] = ()
    ) -> x509.Certificate:
        now = datetime.now(timezone.utc)
        ours = self._key.public_key()
        builder = (
            x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())  # type: ignore[arg-type]
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)  # type: ignore[arg-type]
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)
        )
        if is_authority:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            names = [*map(x509.DNSName, hosts), x509.IPAddress(ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def revoke(self, *certfiles: Path) -> Path:
        """A list of these certificates, which count no more (CRL)."""
        now = datetime.now(timezone.utc)
        builder = x509.CertificateRevocationListBuilder(self._certificate.subject, now, now + timedelta(days=1))
        for path in certfiles:
            number = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now).build()
            )
        path = self.directory / "revoked.pem"
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def make(
        self,
        name: str,
        kind: str = "ec",
        password: bytes = b"",
        title: str = "localhost",
        subject: x509.Name | None = None,
        names: tuple[str, ...] = ("localhost",),
    ) -> tuple[Path, Path]:
        """NAME.crt and NAME.key; ``kind`` is "ec" or "rsa".  ``subject`` replaces the common name ``title``; ``names``
        are the hosts that it is for."""
        key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
        subject = subject or x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, title)])
        certificate = self._sign(subject, self._certificate.subject, key.public_key(), is_authority=False, hosts=names)
        certfile, keyfile = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        certfile.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        keyfile.write_bytes(key.private_bytes(serialization.Encoding.PEM, PRIVATE, how))
        return certfile, keyfile
