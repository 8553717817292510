"""What all slots go by, if nothing else is said."""

from msgspec.structs import asdict

from proxy.config.schema import PacingConfig
from proxy.guards.office import PacingPolicy


def test_the_policy_is_that_of_a_configuration_that_says_nothing() -> None:
    said_by_default = asdict(PacingConfig())

    assert PacingPolicy() == PacingPolicy(said_by_default["max_wait"], said_by_default["max_queue"])
