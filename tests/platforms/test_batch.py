"""What a batch of a platform may be."""

import re

import pytest

from proxy.platforms.batch import Batch


@pytest.mark.parametrize(
    ("path", "most", "problem"),
    [
        ("", 200, "batch: path must be a path from api_url on, such as batch"),
        ("/", 200, "batch: path must be a path from api_url on, such as batch"),
        ("b atch", 200, "batch: path must be a path from api_url on, such as batch"),
        ("b\r\n", 200, "batch: path must be a path from api_url on, such as batch"),
        ("batch", 1, "batch: most must be 2 or more"),
    ],
)
def test_a_batch_that_can_not_be_sent_is_refused(path: str, most: int, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        Batch(path, most=most)
