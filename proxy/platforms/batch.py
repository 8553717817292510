"""How several calls can be sent to a platform as one. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class BatchForm(StrEnum):
    """How a batch is written, and its answer."""

    # {"data":{"requests":[{"method","uri"}, …]}}, answered with
    # {"requests":{"request":[{"method","uri","response":{"header":{"statusCode"},"body"}}, …]}}
    SHOPRENTER = "shoprenter"


@dataclass(frozen=True, slots=True)
class Batch:
    """Where several calls can be sent as one: the path from `api_url` on, in which form, and how many at most.

    Raises `ValueError` with a sentence for the operator.
    """

    path: str
    form: BatchForm = BatchForm.SHOPRENTER
    most: int = 200

    def __post_init__(self) -> None:
        if not self.path.strip("/") or not self.path.isascii() or not self.path.isprintable() or " " in self.path:
            raise ValueError("batch: path must be a path from api_url on, such as batch")
        if self.most < 2:
            raise ValueError("batch: most must be 2 or more")
