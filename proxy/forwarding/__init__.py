"""The life of one request: read `forwarder.py` from the top."""
