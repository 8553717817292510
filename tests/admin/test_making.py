"""How pages are made: a little at a time, once for all who wait, and again only when that is worth it."""

import asyncio
import gzip
from collections.abc import Callable, Iterator

import pytest

from proxy.admin.making import Page, PageMaker, _pieces, _unpacked
from proxy.tasks import BackgroundTasks


class Workshop:
    """A maker whose time passes with each piece, by `takes` seconds, and while it rests; `rests` tells for how long."""

    def __init__(self, takes: float = 0.0) -> None:
        self.now = 1000.0
        self.takes = takes
        self.rests: list[float] = []
        self.made = 0
        self.maker = PageMaker(BackgroundTasks(), clock=lambda: self.now, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def pieces(self, *texts: str) -> Callable[[], Iterator[str]]:
        """What makes a page of these pieces; each page ends with its number."""

        def made() -> Iterator[str]:
            self.made += 1
            number = self.made
            for text in texts:
                self.now += self.takes
                yield text
            yield str(number)

        return made

    async def page(self, key: object = None, *texts: str, good_for: float = 0.0, kind: str = "status") -> str:
        return text_of(await self.maker.page(kind, key, self.pieces(*texts), good_for=good_for))


def text_of(page: Page) -> str:
    return b"".join(page.parts).decode()


async def test_the_loop_has_two_thirds_of_the_time_while_a_long_page_is_made() -> None:
    here = Workshop(takes=0.0004)
    page = await here.page(None, *("x" for _ in range(30)))

    assert page == "x" * 30 + "1"
    assert here.rests == pytest.approx([2 * 0.0012] * 10)  # a piece more than a millisecond at a time


async def test_short_pages_rest_too_if_there_are_many() -> None:
    here = Workshop(takes=0.0005)
    await asyncio.gather(*(here.page(number, "x", kind=str(number)) for number in range(10)))

    assert here.rests == pytest.approx([2 * 0.0005] * 9)


async def test_pieces_that_cost_nothing_are_taken_together_up_to_a_size() -> None:
    here = Workshop()
    page = await here.maker.page("status", None, here.pieces(*["x" * 1000] * 300), good_for=0.0)

    assert [len(part) for part in page.parts] == [132_000, 132_000, 36_001]


async def test_pages_of_different_kinds_are_made_side_by_side() -> None:
    here = Workshop(takes=0.001)
    long, short = await asyncio.gather(
        here.page(None, *("x" for _ in range(100)), kind="metrics"), here.page(None, "x", kind="status")
    )

    assert (long[-1], short[-1]) == ("1", "2")
    assert here.now == pytest.approx(1000 + 101 * 0.003, abs=0.005)  # and have that third together


async def test_who_waits_for_a_page_that_begins_later_shares_it() -> None:
    here = Workshop(takes=0.001)
    pages = await asyncio.gather(*(here.page(None, "x", "y") for _ in range(10)))

    assert pages == ["xy1", *["xy2"] * 9]
    assert await here.page(None, "x", "y") == "xy3"


@pytest.mark.parametrize(("later", "key", "made"), [(0.9, None, 1), (1.1, None, 2), (0.0, "another", 2)])
async def test_a_page_is_shown_again_for_a_while(later: float, key: object, made: int) -> None:
    here = Workshop()
    await here.page(None, good_for=1.0)
    here.now += later

    assert await here.page(key, good_for=1.0) == str(made)


async def test_a_page_that_can_not_be_made_is_an_error_for_who_asked_and_the_next_is_made() -> None:
    def broken() -> Iterator[str]:
        yield "x"
        raise ZeroDivisionError

    here = Workshop()
    with pytest.raises(ZeroDivisionError):
        await here.maker.page("status", None, broken, good_for=1.0)

    assert await here.page(good_for=1.0) == "1"


@pytest.mark.parametrize(("leaving", "begun"), [([0], 1), ([0, 1], 1), ([0, 1, 2], 2)])
async def test_a_page_is_made_for_who_still_waits_and_ended_when_nobody_does(leaving: list[int], begun: int) -> None:
    here = Workshop(takes=0.001)
    asking = [asyncio.create_task(here.page(None, *"abc", good_for=9.0)) for _ in range(3)]
    while not here.made:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    for number in leaving:
        asking[number].cancel()
    await asyncio.wait([asking[number] for number in leaving])

    assert await here.page(None, *"abc", good_for=9.0) == f"abc{begun}"
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert outcomes == [f"abc{begun}" if n not in leaving else outcomes[n] for n in range(3)]
    assert [isinstance(each, asyncio.CancelledError) for each in outcomes] == [n in leaving for n in range(3)]
    assert here.made == begun


async def test_who_waits_for_another_page_of_that_kind_goes_on_when_the_last_one_has_left() -> None:
    here = Workshop(takes=0.001)
    first = asyncio.create_task(here.page("first", *"x" * 100))
    while not here.made:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    second = asyncio.create_task(here.page("second", *"abc"))
    await asyncio.sleep(0)
    first.cancel()

    assert await second == "abc2"
    assert len(here.rests) < 50  # nothing more was made of the first one


@pytest.mark.parametrize("text", ["", "short", "long and the same " * 100_000])
async def test_a_packed_page_is_sent_as_it_is_or_unpacked(text: str) -> None:
    here = Workshop()
    page = await here.maker.page("metrics", None, here.pieces(text), good_for=0.0, packed=True)
    answers = {gzip: page.answer("text/plain", gzip=gzip) for gzip in (True, False)}
    sent = {True: page.parts, False: [piece async for piece in _unpacked(page.parts)]}

    for taken, answer in answers.items():
        assert answer.length == sum(map(len, sent[taken]))
        assert answer.fields.get("Content-Encoding") == ("gzip" if taken else None)
    assert gzip.decompress(b"".join(sent[True])) == b"".join(sent[False]) == text.encode() + b"1"
    assert max(map(len, sent[False])) <= 65_536


@pytest.mark.parametrize("packed", [True, False])
async def test_others_have_their_turn_between_the_pieces_that_are_sent(packed: bool) -> None:
    here = Workshop()
    page = await here.maker.page("metrics", None, here.pieces("x" * 1_000_000), good_for=0.0, packed=packed)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    sent = [piece async for piece in (_unpacked if packed else _pieces)(page.parts)]
    task.cancel()

    assert len(b"".join(sent)) == 1_000_001
    assert turns >= 15
