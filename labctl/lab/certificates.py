"""The lab's own CA, and a certificate for each server, made on first `up`."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labctl.lab.state import write_private

CA_DAYS = 3650
SERVER_DAYS = 397  # what clients accept at most (CA/Browser Forum, SC-031)
RENEW_DAYS = 30
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Host:
    """What clients call the servers: the mail host's name, and the address of published ports."""

    name: str
    address: str = LOOPBACK

    def names(self, server: str) -> x509.SubjectAlternativeName:
        """Return the names that a server's certificate is for."""
        names = dict.fromkeys((server, self.name, "localhost"))
        addresses = dict.fromkeys((LOOPBACK, self.address))
        return x509.SubjectAlternativeName(
            [
                *(x509.DNSName(name) for name in names),
                *(x509.IPAddress(ipaddress.IPv4Address(address)) for address in addresses),
            ]
        )


def ensure_certificates(directory: Path, servers: Sequence[str], host: Host) -> list[str]:
    """Make the CA and the servers' certificates that are missing, damaged or expire within 30 days.

    Writes `ca.pem`, `ca.key` and per server `NAME.pem`, `NAME.key` (mode 0600); each server's
    certificate is for its own name, for the host's, for `localhost` and 127.0.0.1. Returns the
    names of those that were made.
    """
    made = []
    if is_damaged(directory, "ca") or _expires_soon(directory / "ca.pem"):
        _make_ca(directory)
        made.append("ca")
    ca = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    for server in servers:
        path = directory / f"{server}.pem"
        stays = not is_damaged(directory, server) and not _expires_soon(path)
        if made[:1] == ["ca"] or not stays or not _is_for(path, server, ca, host):
            _make_server(directory, server, ca, host)
            made.append(server)
    return made


def is_damaged(directory: Path, name: str) -> bool:
    """Say whether a certificate, or its key, is missing, cannot be read, or is another's."""
    try:
        certificate = x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())
        key = serialization.load_pem_private_key((directory / f"{name}.key").read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return True
    return certificate.public_key() != key.public_key()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _expires_soon(path: Path) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_after_utc < _now() + dt.timedelta(days=RENEW_DAYS)


def _is_for(path: Path, server: str, ca: x509.Certificate, host: Host) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return certificate.issuer == ca.subject and names == host.names(server)


def _builder(common_name: str, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - dt.timedelta(hours=1))
        .not_valid_after(_now() + dt.timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _make_ca(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"mail-policy-lab CA {x509.random_serial_number() % 10**8:08d}"
    certificate = (
        _builder(name, CA_DAYS)
        .issuer_name(_name(name))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(directory, "ca", key, certificate)


def _make_server(directory: Path, server: str, ca: x509.Certificate, host: Host) -> None:
    ca_key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the CA's key is not the kind that this tool makes")
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = (
        _builder(server, SERVER_DAYS)
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(host.names(server), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write(directory, server, key, certificate)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _write(
    directory: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(directory / f"{name}.key", private.decode())
    write_private(
        directory / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM).decode()
    )
