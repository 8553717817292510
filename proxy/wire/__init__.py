"""HTTP/1.1 on sockets, both sides. Knows nothing of shops, tokens or platforms."""
