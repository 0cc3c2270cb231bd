"""Secrets taken out of texts that people read: log lines and the details of problems.

By construction no log line of this service holds a header, a query or a body. But a caller may put a key where none
belongs, such as into a path, and libraries log exceptions whose texts nobody here writes. So what has the shape of a
secret is taken out at the last step, whoever wrote it.
"""

import logging
import re

__all__ = ["RedactingFormatter", "redact"]

HIDDEN = "…"

_SECRETS = re.compile(
    # A key or feed token of this service: environment and id stay, which are public and tell which is to be revoked.
    r"(?P<key>lz(?:cal)?_[a-z][a-z0-9]{0,15}_[0-9A-Za-z]{12})_[0-9A-Za-z_]+"
    # A JSON Web Token: Base64url of ``{"``, two dots.
    r"|eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"
    # What follows the scheme of an Authorization header, however the header is printed.
    r"|(?P<scheme>(?i:\b(?:bearer|basic))[ \t]+)(?![\"'…])[A-Za-z0-9\-._~+/]{8,}=*"
    # The password in the address of a database or cache.
    r"|(?P<account>[a-z][a-z0-9+]{2,20}://[^\s:/@]*:)[^\s/@]+(?=@)"
)
# What every secret of these shapes has in it: looking for these first makes a text without any cost next to nothing.
_SIGNS = ("lz_", "lzcal_", "eyJ", "://", "earer", "EARER", "asic", "ASIC")


def redact(text: str) -> str:
    """Return the text without what has the shape of a secret: keys, tokens, credentials, passwords in addresses."""
    if not any(sign in text for sign in _SIGNS):
        return text
    return _SECRETS.sub(lambda found: f"{found['key'] or found['scheme'] or found['account'] or ''}{HIDDEN}", text)


class RedactingFormatter(logging.Formatter):
    """Formats a log record without secrets, those in the text of an exception included."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished line or lines."""
        return redact(super().format(record))
