"""Shop Auth Proxy: plain requests in, authorized API calls out."""

__version__ = "0.1.0"
