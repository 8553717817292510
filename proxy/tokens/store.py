"""Where the states of all sets of credentials live: in this process, and not more of them than are allowed.

Rules: the one that was used least recently goes first, but none whose fetch is under way. Those without a token
have room of their own, so that made-up shop names, whose credentials are refused, never cost a shop its token.
"""

from proxy.tokens.state import TokenState


class StateStore:
    """The states, by the key of their token request; `max_entries` with a token, and as many without."""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._with_token: dict[bytes, TokenState] = {}
        self._without: dict[bytes, TokenState] = {}

    def get(self, key: bytes) -> TokenState | None:
        """Return the state for `key`, which thereby is the one used last."""
        for states in (self._with_token, self._without):
            state = states.pop(key, None)
            if state is not None:
                states[key] = state
                return state
        return None

    def peek(self, key: bytes) -> TokenState | None:
        """Return the state for `key` without using it."""
        return self._with_token.get(key) or self._without.get(key)

    def add(self, key: bytes, state: TokenState | None = None) -> TokenState:
        """Take a state for `key`, a new one if there is none; return it."""
        state = state or TokenState()
        self._make_room(self._without)
        self._without[key] = state
        if state.token is not None:
            self.granted(key, state)
        return state

    def granted(self, key: bytes, state: TokenState) -> None:
        """Take note that `state` has a token now."""
        if self._without.pop(key, None) is not None:
            self._make_room(self._with_token)
            self._with_token[key] = state

    def failing(self) -> frozenset[bytes]:
        """Return the keys of those whose endpoint gave no token when it was asked last."""
        both = (self._with_token, self._without)
        return frozenset([key for states in both for key, state in states.items() if state.error is not None])

    def __len__(self) -> int:
        return len(self._with_token) + len(self._without)

    def _make_room(self, states: dict[bytes, TokenState]) -> None:
        while len(states) >= self.max_entries:
            oldest = next((key for key, state in states.items() if state.fetch is None), None)
            if oldest is None:
                return
            del states[oldest]
