"""Simulated platforms: real HTTP servers on loopback, for the demo, the tests and the benchmarks.

They follow what the platforms document (and say where something is not documented), and import nothing of the
proxy, so that they cannot share its mistakes. Start reading at `server.py`; `shoprenter.py` and `toss.py` are the two
platforms.
"""

from proxy.simulator.faults import Fault
from proxy.simulator.recording import RecordedRequest
from proxy.simulator.server import Counts, SimulatedClient
from proxy.simulator.shoprenter import ShoprenterSimulator
from proxy.simulator.toss import TossSimulator

__all__ = ["Counts", "Fault", "RecordedRequest", "ShoprenterSimulator", "SimulatedClient", "TossSimulator"]
