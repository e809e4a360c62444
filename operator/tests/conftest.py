"""Fixtures of the operator's unit tests."""

import pytest
from aurora_operator.render.identity import Resource
from hypothesis import settings
from operator_support import a_spec

# How long one example takes depends on what else the machine does; pytest's own timeout ends what hangs.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def resource():
    return Resource("chat", "ns", "u-1", a_spec())
