"""Secrets of webhooks, and signatures made with them (Standard Webhooks, https://www.standardwebhooks.com).

A secret is derived from the one key of the service, the id of the webhook and the number of its rotation, so none is
stored: who reads the database can sign nothing, and there is nothing to be encrypted. Whoever changes the service's key
changes every secret.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

__all__ = ["secret_text", "signature_headers", "webhook_secret"]


def webhook_secret(key: str, webhook: UUID, version: int) -> bytes:
    """The secret of a webhook after so many rotations."""
    return hmac.digest(key.encode(), f"liuzhang webhook {webhook} {version}".encode(), hashlib.sha256)


def secret_text(secret: bytes) -> str:
    """A secret as its owner gets it."""
    return f"whsec_{base64.b64encode(secret).decode()}"


def signature_headers(secrets: Iterable[bytes], message: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers that sign ``body``, once with each secret."""
    timestamp = str(int(at.timestamp()))
    signed = f"{message}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets)
    return {
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
