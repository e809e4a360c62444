"""Fixtures of the operator's unit tests."""

import pytest
from aurora_operator.render.identity import Resource
from operator_support import a_spec


@pytest.fixture
def resource():
    return Resource("chat", "ns", "u-1", a_spec())
