"""Gives the tests that are made of the operations of the document ids of their own.

They all have that of their function, and what runs tests side by side goes by ids: of those that share one, it would
run only one.
"""

import pytest
from schemathesis.pytest.plugin import SchemathesisFunction


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, SchemathesisFunction):
            item._id = item._id.with_params(item.operation_label)  # pyright: ignore[reportPrivateUsage]
