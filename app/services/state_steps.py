"""Steps that are not open, as requests are refused for them."""

from collections.abc import Generator
from contextlib import contextmanager

from app.domain.state_table import WrongStepError as WrongStep
from app.errors import WrongStepError

__all__ = ["open_steps_named"]


@contextmanager
def open_steps_named() -> Generator[None]:
    """Within it, a step that is not open refuses the request, which is told the open ones.

    Raises:
        WrongStepError: it is not.
    """
    try:
        yield
    except WrongStep as error:
        raise WrongStepError(str(error), allowed=[step.value for step in error.allowed]) from None
