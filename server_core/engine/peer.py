"""Tells what TLS knows of a connection and its client, by the names that mod_ssl has given to it; knows no socket.

A client cannot say any of it in a header field: the names of those begin with HTTP_.
"""

from __future__ import annotations

import re
from ssl import DER_cert_to_PEM_cert, SSLObject
from typing import Any

#: RFC 4514, 3, and OpenSSL's names for the others that have short ones
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "givenName": "GN",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "surname": "SN",
    "userId": "UID",
}
_special = re.compile(r'[,+"\\<>;]|^[ #]| $')
_not_printable = re.compile(r"[^ -~]")


def told_by(tls: SSLObject) -> dict[str, str]:
    """Keys for the environ: SSL_PROTOCOL, SSL_CIPHER, SSL_CLIENT_VERIFY and, when the client has shown a certificate
    (which has been verified then), what stands in it.  Raises ValueError if that is no text."""
    cipher = tls.cipher()
    told = {
        "SSL_PROTOCOL": tls.version() or "",
        "SSL_CIPHER": cipher[0] if cipher else "",
        "SSL_CLIENT_VERIFY": "NONE",
    }
    pem = tls.getpeercert(binary_form=True)
    if pem:
        certificate: Any = tls.getpeercert()
        told |= {
            "SSL_CLIENT_VERIFY": "SUCCESS",
            "SSL_CLIENT_M_SERIAL": certificate["serialNumber"],
            "SSL_CLIENT_S_DN": name_in_words(certificate["subject"]),
            "SSL_CLIENT_I_DN": name_in_words(certificate["issuer"]),
            "SSL_CLIENT_V_START": certificate["notBefore"],
            "SSL_CLIENT_V_END": certificate["notAfter"],
            "SSL_CLIENT_CERT": DER_cert_to_PEM_cert(pem),
        }
    return told


def name_in_words(name: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """A name as RFC 4514 writes it, the last part first: ``CN=Ada,O=Engines``; in ASCII."""
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part) for part in name[::-1]
    )


def _escaped(value: str) -> str:
    value = _special.sub(r"\\\g<0>", value)
    return _not_printable.sub(lambda found: "".join(f"\\{byte:02X}" for byte in found[0].encode()), value)
