"""What may pass, and how fast."""
