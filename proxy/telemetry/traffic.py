"""What is counted of requests, by shop: for the metrics, and for the status page.

Rules: `finished` is called once for each request, and costs next to nothing: some dozens are counted one after the
other, or when somebody looks. The number of shops held is bounded by `ShopLabels`, that of everything else by its type.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Self

from proxy.telemetry.finished import Failure, FinishedRequest
from proxy.telemetry.labels import ShopLabels
from proxy.telemetry.problems import Problem, Problems, kept_reason, shown_target
from proxy.telemetry.recent import Recent

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD: Final = "other"
_CLASSES: Final = tuple(f"{first}xx" for first in range(10))
NO_ANSWER: Final = "none"  # as the status of a request whose client left before there was one
# The upper bounds of the histograms' buckets, in seconds.
DURATION_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ADDED_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WAIT_BOUNDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# So many are counted together at most.
_COUNTED_TOGETHER: Final = 64
# So many of one shop are counted column by column, which takes half the time then, and twice as long for one alone.
_MANY: Final = 8

_UNAUTHORIZED: Final = "The platform answered 401. If the token is good, the API client may lack the permission."
_NEEDS: Final = "The platform answered 401. If the token is good: "


class Histogram:
    """Counts values by size. `counts` has one more than `bounds`, for what is above the last."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one that is equal to a bound is within it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_all(self, values: Iterable[float | None]) -> None:
        """Count values, those that there are."""
        counts, bounds = self.counts, self.bounds
        known = [value for value in values if value is not None]
        for value in known:
            counts[bisect_left(bounds, value)] += 1
        self.sum += sum(known)

    def copy(self) -> Self:
        """Return another one with the same counts."""
        other = type(self)(self.bounds)
        other.counts, other.sum = self.counts.copy(), self.sum
        return other


class ShopTraffic:
    """The numbers of one shop. `requests` is by method and status class, such as `("GET", "2xx")`."""

    __slots__ = (
        "added",
        "attempts",
        "bytes_in",
        "bytes_out",
        "dropped_fields",
        "duration",
        "inner",
        "paced",
        "problem",
        "recent",
        "requests",
        "throttled",
        "upstream",
    )

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.duration = Histogram(DURATION_BOUNDS)
        self.added = Histogram(ADDED_BOUNDS)
        self.paced = Histogram(WAIT_BOUNDS)
        self.upstream = Histogram(DURATION_BOUNDS)
        self.bytes_in = self.bytes_out = self.attempts = self.throttled = self.dropped_fields = 0
        self.inner: Counter[int] = Counter()
        self.recent = Recent()
        self.problem: Problem | None = None

    def count(self, request: FinishedRequest, status_class: str) -> None:
        """Count a request to this shop."""
        method, added, upstream = request.method, request.added, request.upstream
        self.requests[method if method in METHODS else OTHER_METHOD, status_class] += 1
        self.duration.observe(request.duration)
        if added is not None:
            self.added.observe(added)
        if upstream is not None:
            self.upstream.observe(upstream)
        if request.paced is not None:
            self.paced.observe(request.paced)
        self.bytes_in += request.bytes_in
        self.bytes_out += request.bytes_out
        self.attempts += request.attempts
        self.throttled += request.throttled
        self.dropped_fields += request.dropped_fields
        if request.inner:
            self.inner.update(request.inner)

    def copy(self) -> Self:
        """Return the same numbers, which stay as they are; without the recent ones."""
        other = type(self)()
        other.requests = self.requests.copy()
        other.duration, other.added, other.paced = self.duration.copy(), self.added.copy(), self.paced.copy()
        other.upstream = self.upstream.copy()
        other.bytes_in, other.bytes_out = self.bytes_in, self.bytes_out
        other.attempts, other.throttled, other.problem = self.attempts, self.throttled, self.problem
        other.dropped_fields, other.inner = self.dropped_fields, self.inner.copy()
        return other


class ClientTraffic:
    """The numbers of one client: answers by their class, the proxy's own errors by code, and when it called last."""

    __slots__ = ("errors", "last_at", "requests")

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.last_at = 0.0


class Traffic:
    """Counts requests. `clock` is monotonic, in seconds."""

    def __init__(self, labels: ShopLabels, clock: Callable[[], float]) -> None:
        self.labels = labels
        self._clock = clock
        self._uncounted: list[tuple[float, FinishedRequest]] = []  # with when they ended
        self._shops: dict[str, ShopTraffic] = {}
        self._clients: dict[str, ClientTraffic] = {}
        self._errors: Counter[tuple[str, str]] = Counter()
        self._problems = Problems()

    @property
    def shops(self) -> dict[str, ShopTraffic]:
        """The numbers of each shop."""
        self._count()
        return self._shops

    @property
    def clients(self) -> dict[str, ClientTraffic]:
        """The numbers of each client that the configuration names, and of nobody."""
        self._count()
        return self._clients

    @property
    def errors(self) -> Counter[tuple[str, str]]:
        """The proxy's own errors, by shop and code."""
        self._count()
        return self._errors

    @property
    def problems(self) -> Problems:
        """What went wrong last."""
        self._count()
        return self._problems

    def finished(self, request: FinishedRequest) -> None:
        """Count a request."""
        uncounted = self._uncounted
        uncounted.append((self._clock(), request))
        if len(uncounted) >= _COUNTED_TOGETHER:
            self._count()

    def _count(self) -> None:
        uncounted, self._uncounted = self._uncounted, []
        of_shops: dict[str, list[tuple[float, FinishedRequest]]] = {}
        for ended in uncounted:
            key, entry = ended[1][:2]
            label = key if key == entry else self.labels.of(key, entry)
            if label in of_shops:
                of_shops[label].append(ended)
            else:
                of_shops[label] = [ended]
        for label, all_ended in of_shops.items():
            shop = self._shops.get(label)
            if shop is None:
                shop = self._shops[label] = ShopTraffic()
            if len(all_ended) < _MANY or not self._count_many(shop, all_ended):
                for now, request in all_ended:
                    self._count_one(shop, label, now, request)

    def _count_many(self, shop: ShopTraffic, ended: list[tuple[float, FinishedRequest]]) -> bool:
        """Count requests together, if all of them went well; return whether that was so."""
        times, requests = zip(*ended, strict=True)
        (_, _, methods, statuses, answered, failures, attempts, bytes_in, bytes_out, durations, added, paced, *rest) = (
            zip(*requests, strict=True)
        )
        throttled, dropped, inner, clients, upstream, *_ = rest
        if None in statuses or max(statuses) >= 500 or 401 in answered or any(failures) or any(throttled) or any(inner):
            return False
        for (method, status, client), count in Counter(zip(methods, statuses, clients, strict=True)).items():
            shop.requests[method if method in METHODS else OTHER_METHOD, _CLASSES[status // 100]] += count
            if client is not None:
                self._count_for(client, _CLASSES[status // 100], times[-1], count)
        shop.duration.observe_all(durations)
        shop.added.observe_all(added)
        shop.upstream.observe_all(upstream)
        shop.paced.observe_all(paced)
        shop.bytes_in += sum(bytes_in)
        shop.bytes_out += sum(bytes_out)
        shop.attempts += sum(attempts)
        shop.dropped_fields += sum(dropped)
        for minute, count in Counter([now // 60 for now in times]).items():
            shop.recent.count(minute * 60, error=False, unauthorized=False, calls=count)
        return True

    def _count_one(self, shop: ShopTraffic, label: str, now: float, request: FinishedRequest) -> None:
        client, status = request.client, request.status
        status_class = NO_ANSWER if status is None else _CLASSES[status // 100]
        shop.count(request, status_class)
        if client is not None:
            self._count_for(client, status_class, now, 1)
        failed = request.failure is not None or (status is not None and status >= 500)
        unauthorized = request.answered == 401
        shop.recent.count(now, error=failed, unauthorized=unauthorized)
        if failed or unauthorized or request.throttled:
            shop.problem = self._problem(request, label, now)

    def _count_for(self, client: str, status_class: str, now: float, count: int) -> None:
        caller = self._clients.get(client)
        if caller is None:
            caller = self._clients[client] = ClientTraffic()
        caller.requests[status_class] += count
        caller.last_at = now

    def _problem(self, request: FinishedRequest, label: str, now: float) -> Problem:
        """Count what went wrong with a request, and keep it."""
        failure, client = request.failure, request.client
        if failure is not None:
            self._errors[label, failure.code] += 1
            if client is not None:
                self._clients[client].errors[failure.code] += 1
        code, detail, reason = failure or _answer_of_the_platform(request)
        problem = Problem(
            code,
            detail,
            now,
            request.method,
            shown_target(request.target),
            request.status,
            client or "",
            request.request_id.decode("latin-1"),
            kept_reason(reason),
        )
        self._problems.add(label, problem)
        return problem


def _answer_of_the_platform(request: FinishedRequest) -> Failure:
    if request.answered is None or request.answered < 400:
        return Failure("http_429", "The platform answered 429; the call was sent again later.")
    if request.answered == 401:
        return Failure("http_401", f"{_NEEDS}{request.hint}." if request.hint else _UNAUTHORIZED)
    return Failure(f"http_{request.answered}", f"The platform answered {request.answered}.")
