"""What can go wrong between a command and the service; the exit codes are those of docs/cli.md.

ClientError
├── ProblemError        1  the service refused the request
│   ├── DeniedError     3  it does not know the caller, or the caller may not do this
│   └── BusyError       5  it cannot do it now, however often it was asked
├── InputError          2  what the user gave cannot be used: a file, an address, a setting
├── CredentialsError    3  there is no key to present, or it is not kept safely
└── UnreachableError    5  no answer of use came, however often it was tried
"""

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "BusyError",
    "ClientError",
    "CredentialsError",
    "DeniedError",
    "InputError",
    "ProblemError",
    "UnreachableError",
]


class ClientError(Exception):
    """Base of all; the message (Chinese) says what happened and what to do."""

    exit_code: ClassVar[int]


class InputError(ClientError):
    """What the user gave cannot be used."""

    exit_code = 2


class CredentialsError(ClientError):
    """There is no key to present, or it is not kept safely."""

    exit_code = 3


class UnreachableError(ClientError):
    """No answer of use came."""

    exit_code = 5


class ProblemError(ClientError):
    """The service refused; ``problem`` is its answer (RFC 9457)."""

    exit_code = 1

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{problem['title']}: {problem['detail']}")
        self.problem = problem


class DeniedError(ProblemError):
    """The service does not know the caller, or the caller may not do this."""

    exit_code = 3


class BusyError(ProblemError):
    """The service cannot do it now, however often it was asked."""

    exit_code = 5
