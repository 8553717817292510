"""What it means that no descriptor is left."""

import errno

import pytest

from proxy.errors import Overloaded
from proxy.wire.descriptors import none_left


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_system_without_descriptors_is_our_own_trouble_and_passes(number: int) -> None:
    told = none_left(OSError(number, "none"))
    assert isinstance(told, Overloaded)
    assert (told.status, told.retry_after) == (503, 1.0)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError("what"), ValueError(), TimeoutError()])
def test_other_errors_mean_something_else(error: Exception) -> None:
    assert none_left(error) is None
