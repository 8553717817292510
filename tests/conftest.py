"""What holds for all tests."""

from hypothesis import settings

# The machine that runs the tests may be slow at any moment; how long an example takes says nothing.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
