"""Turns a `Config` into a running proxy: starts it, gives it another configuration, stops it.

Everything that has to do with the outside (clock, randomness, name resolution, the log) comes in or is made here, and
is handed to the rooms that need it.
"""

from proxy.app.connections import open_connections
from proxy.app.lifecycle import RunningProxy, running
from proxy.app.outside import Outside, StartError, hosts_leading_here
from proxy.app.serving import serve

__all__ = [
    "Outside",
    "RunningProxy",
    "StartError",
    "hosts_leading_here",
    "open_connections",
    "running",
    "serve",
]
