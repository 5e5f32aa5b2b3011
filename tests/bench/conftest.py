"""What runs here is timed and weighed."""

import pytest


@pytest.fixture(autouse=True)
def _plain(unmeasured: None) -> None:
    """Coverage is not taken here."""
