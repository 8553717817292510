"""Message heads, as the room is given them: the values of the fields of a name."""

from proxy.links.answers import Values


def head(*lines: bytes) -> Values:
    """The head with these lines, `Name: value` each."""
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return lambda wanted: [value for name, value in fields if name == wanted]
