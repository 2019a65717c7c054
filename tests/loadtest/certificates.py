"""Owns an authority for tests, and a server's certificate that it has signed."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificates(folder: Path) -> Path:
    """Write `authority.pem`, and `server.pem` with its key, for 127.0.0.1; returns the folder."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _name("an authority of tests")
    own = _builder(authority, authority, authority_key.public_key())
    own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    theirs = _builder(_name("127.0.0.1"), authority, server_key.public_key())
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    theirs = theirs.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    (folder / "authority.pem").write_bytes(_pem(own.sign(authority_key, hashes.SHA256())))
    key = server_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "server.pem").write_bytes(_pem(theirs.sign(authority_key, hashes.SHA256())) + key)
    return folder


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
