"""From credentials to a live access token."""
