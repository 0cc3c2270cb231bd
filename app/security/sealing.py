"""What is shown once and yet has to be given again: encrypted with what only its owner can present."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

__all__ = ["SealError", "seal", "unseal"]


class SealError(ValueError):
    """It was sealed with another secret."""


def _cipher(secret: str) -> Fernet:
    # The secret has an API key or a token in it, so it needs no stretching.
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"liuzhang seal\0" + secret.encode()).digest()))


def seal(content: bytes, secret: str) -> bytes:
    """Encrypt ``content`` (AES-128-CBC with HMAC-SHA256: the Fernet specification)."""
    return _cipher(secret).encrypt(content)


def unseal(sealed: bytes, secret: str) -> bytes:
    """Decrypt what :func:`seal` made with the same secret.

    Raises:
        SealError: it was made with another, or altered.
    """
    try:
        return _cipher(secret).decrypt(sealed)
    except InvalidToken:
        raise SealError from None
