"""All shops in the order of their trouble: what of that is worked out anew, and when."""

import asyncio

import pytest

from proxy.admin.overviews import Overviews, good_for
from proxy.admin.report import Overview
from proxy.admin.sources import Sources
from proxy.errors import TokenRefused
from proxy.guards.budgets import Budgets
from proxy.guards.descriptors import Descriptors
from proxy.guards.office import PacingPolicy
from proxy.guards.pacing import Pacer
from proxy.platforms.platform import RateLimit
from proxy.platforms.shop import Shops
from proxy.telemetry.finished import FinishedRequest
from proxy.telemetry.metrics import ConnectionMetrics, ErrandMetrics, LogMetrics, PacingMetrics, ProcessMetrics
from proxy.telemetry.traffic import Traffic
from proxy.tokens.endpoint import TokenRequest, token_request
from tests.admin.asking import with_wildcard
from tests.admin.shops import run
from tests.proxies import platform, shop
from tests.tokens.desk import Office, office, refusal


class Counted:
    """Shops, and what is counted of them; `looked_for` are those that were looked at."""

    def __init__(self, here: Office, shops: Shops) -> None:
        self.now = self.real_now = 6000.0
        self.shops = shops
        self.looked_for: list[str] = []
        self.traffic = Traffic(here.metrics.labels, lambda: self.now)
        pacing = PacingMetrics()
        self.sources = Sources(
            version="1",
            process=ProcessMetrics(),
            shops=lambda: self.shops,
            find=self._find,
            tokens=here.cache,
            token_metrics=here.metrics,
            pacer=Pacer(PacingPolicy(), pacing, clock=lambda: self.now, call_later=lambda _, __: None),  # type: ignore[arg-type, return-value]
            pacing=pacing,
            errands=ErrandMetrics(),
            traffic=self.traffic,
            in_flight=lambda: 0,
            connections=ConnectionMetrics(),
            budgets=Budgets(),
            descriptors=Descriptors(),
            log=LogMetrics(),
            redact=str,
            clock=lambda: self.now,
        )
        self.overviews = Overviews(self.sources, clock=lambda: self.real_now)

    def _find(self, key: str) -> TokenRequest | None:
        self.looked_for.append(key)
        found = self.shops.find(key)
        return None if found is None else token_request(found)

    def called(self, key: str, status: int = 200, *, entry: str | None = None) -> None:
        self.traffic.finished(
            FinishedRequest(key, entry or key, "GET", status, status, None, 1, 0, 0, 0.1, 0.0, None, 0)
        )

    def overview(self) -> Overview:
        return run(self.overviews.latest())


def named(*names: str) -> Shops:
    return Shops({name: shop(name, platform(1, 1)) for name in names})


async def test_shops_that_nobody_called_are_there_by_name_and_not_looked_at() -> None:
    async with office() as here:
        counted = Counted(here, named("b", "c", "a"))

        assert counted.overview() == Overview(["a", "b", "c"], 0, 0)
        assert counted.looked_for == []


async def test_trouble_comes_first() -> None:
    async with office(refusal()) as here:
        counted = Counted(here, named("a-quiet", "b-401", "c-failed", "d-refused", "e-fine"))
        for key, status in (("e-fine", 200), ("b-401", 401), ("c-failed", 503), ("d-refused", 502)):
            counted.called(key, status)
        with pytest.raises(TokenRefused):
            await here.cache.get(token_request(counted.shops.named["d-refused"]))

        assert counted.overview() == Overview(
            ["d-refused", "c-failed", "b-401", "a-quiet", "e-fine"],
            3,
            4,
            numbers={
                "b-401": (1, 0, 1, 0),
                "c-failed": (1, 1, 0, 0),
                "d-refused": (1, 1, 0, 0),
                "e-fine": (1, 0, 0, 0),
            },
        )


async def test_the_sums_are_those_of_the_last_minutes_at_any_time() -> None:
    async with office() as here:
        counted = Counted(here, named("a", "b"))
        seen = []
        for status, later in ((503, 0.0), (200, 1.0), (503, 60.0), (None, 840.0), (None, 60.0), (200, 0.0)):
            counted.now += later
            counted.real_now += 1.0
            if status is not None:
                counted.called("b", status)
            overview = counted.overview()
            seen.append((overview.names[0], overview.calls))

        assert seen == [("b", 1), ("b", 2), ("b", 3), ("b", 1), ("a", 0), ("a", 1)]


async def test_it_is_worked_out_anew_no_more_often_than_it_is_worth() -> None:
    async with office() as here:
        counted = Counted(here, named(*(f"s{number}" for number in range(2000))))
        assert good_for(counted.sources) == pytest.approx(0.1)
        calls = []
        for later in (0.0, 0.09, 0.02):
            counted.called("s7")
            counted.real_now += later
            calls.append(counted.overview().calls)

        assert calls == [1, 1, 3]


async def test_the_rest_of_the_wildcard_entry_has_its_place() -> None:
    async with office() as here:
        counted = Counted(here, with_wildcard(shop("named", platform(1, 1))))
        counted.sources.pacing.waiting = 2
        here.metrics.labels.granted("own", "*")
        counted.called("own", 200, entry="*")
        waiting = counted.overview()
        counted.sources.pacing.waiting = 0
        counted.real_now += 1.0
        quiet = counted.overview()

        assert waiting == Overview(["*", "named", "own"], 0, 1, 2, {"own": (1, 0, 0, 0), "*": (0, 0, 0, 2)})
        assert quiet.names == ["*", "named", "own"]
        counted.called("made-up", 502, entry="*")
        counted.real_now += 1.0
        assert counted.overview() == Overview(["*", "named", "own"], 1, 2, 0, {"own": (1, 0, 0, 0), "*": (1, 1, 0, 0)})


async def test_another_configuration_has_its_own_shops() -> None:
    async with office() as here:
        counted = Counted(here, with_wildcard(shop("b", platform(1, 1))))
        here.metrics.labels.granted("own", "*")
        for key, entry in (("b", "b"), ("own", "*")):
            counted.called(key, 503, entry=entry)
        assert counted.overview().names == ["b", "own", "*"]
        counted.shops = named("c", "a")
        counted.real_now += 1.0

        assert counted.overview() == Overview(["a", "c"], 0, 0)


async def test_a_call_that_waits_for_long_is_trouble() -> None:
    async with office() as here:
        counted = Counted(here, named("a", "b"))
        application = token_request(counted.shops.named["b"]).application
        first, second = (counted.sources.pacer.turn(application, "", RateLimit(1, per=20.0)) for _ in range(2))
        counted.called("b")
        await first.__aenter__()
        waiting = asyncio.ensure_future(second.__aenter__())
        await asyncio.sleep(0)

        assert counted.overview() == Overview(["b", "a"], 1, 1, numbers={"b": (1, 0, 0, 1)})
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_of_shops_that_were_called_only_sums_are_looked_at_while_all_is_well() -> None:
    async with office() as here:
        counted = Counted(here, named("a", "b", "c"))
        for key, status in (("a", 200), ("b", 503), ("c", 401)):
            counted.called(key, status)

        assert counted.overview().names == ["b", "c", "a"]
        assert counted.looked_for == []
