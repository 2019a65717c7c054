"""Owns what all unit tests of the server share: the event loop and hypothesis' patience."""

import pytest
from hypothesis import settings

# On a busy machine one slow example is no failure; pytest-timeout ends a test that hangs.
settings.register_profile("server", deadline=None)
settings.load_profile("server")


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio alone: granian knows no other."""
    return "asyncio"
