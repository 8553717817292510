"""Links in texts, streams, forms and header fields, both ways; decides nothing about requests, and does no I/O."""
