"""Signatures of an event: canonical JSON, the organiser's Ed25519 key, and hashes of files."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemtwin.twin import files
from stemtwin.twin.errors import SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEMA = "stemtwin/signing-key@1"


def canonical(value: Any) -> bytes:
    """Return plain values as canonical JSON: sorted keys, no blanks, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(content: bytes) -> str:
    """Return the sha256 of bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def draw_signing_key() -> "Ed25519PrivateKey":
    """Return a new random Ed25519 signing key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


def public_text(key: "Ed25519PrivateKey") -> str:
    """Return the public key that belongs to a signing key, 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def write_signing_key(path: Path, key: "Ed25519PrivateKey") -> None:
    """Write a signing key as a JSON file that only the current user can read."""
    content = {"schema": SCHEMA, "private": key.private_bytes_raw().hex()}
    files.write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    path.chmod(0o600)


def read_signing_key(path: Path) -> "Ed25519PrivateKey":
    """Return the key that :func:`write_signing_key` wrote.

    Raises
    ------
    SettingsError
        The file does not contain a key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            message = f"its schema is {content['schema']!r}, not {SCHEMA!r}"
            raise ValueError(message)
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content["private"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{path} does not contain a signing key ({error}). Give the secret folder that 'stemtwin event new' made."
        raise SettingsError(message) from None


def signed_by(public_key: str, signature: str, content: bytes) -> bool:
    """Return True if a hexadecimal signature of ``content`` was made with the private key of the hexadecimal ``public_key``."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return True
