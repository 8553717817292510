"""What holds for all tests."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from tests.clocks import counted_clock

# The machine that runs the tests may be slow at any moment; how long an example takes says nothing.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture
async def counted() -> AsyncIterator[None]:
    """Have time go by turns of the event loop: none passes while the machine does something else."""
    with counted_clock():
        yield
