"""Shops as the configuration describes them, and what fits together with their platforms."""

from pathlib import Path

import pytest

from proxy.config import ConfigError, load_config
from proxy.platforms.batch import Batch

DEMO = '[shops.demo]\nclient_id = "id"\nclient_secret = "secret"\n'
OWN = '[platforms.own]\ntoken_url = "https://own.example/token"\napi_url = "https://own.example/api/"\n'


def loaded(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_shops_calls_are_sent_together_only_if_that_is_asked_for(tmp_path: Path) -> None:
    text = DEMO + DEMO.replace("demo", "two") + "batch = true\n" + DEMO.replace("demo", '"*"') + "batch = true\n"
    shops = load_config(loaded(tmp_path, text), {}).shops

    assert (shops.named["demo"].batch, shops.named["two"].batch) == (False, True)
    other = shops.find("any")
    assert other is not None
    assert other.batch


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (OWN + DEMO + 'platform = "own"\nbatch = true\n', '"own" has no batch'),
        ("[platforms.shoprenter]\nbatch = false\n" + DEMO + "batch = true\n", '"shoprenter" has no batch'),
        (
            OWN + 'batch = { path = "batch" }\n' + DEMO + 'platform = "own"\nbatch = true\n',
            '"own" has no rate_limit, so no request waits in line',
        ),
    ],
)
def test_a_batch_that_can_not_come_about_is_told(tmp_path: Path, text: str, missing: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(loaded(tmp_path, text), {})

    assert [line.partition(": ")[2] for line in caught.value.problems] == [f"has no effect: the platform {missing}"]


def test_a_platform_of_ones_own_may_take_batches(tmp_path: Path) -> None:
    text = OWN + 'batch = { path = "v1/batch", form = "shoprenter", most = 50 }\nrate_limit = { requests = 1 }\n'
    config = load_config(loaded(tmp_path, text + DEMO + 'platform = "own"\nbatch = true\n'), {})

    assert config.shops.named["demo"].platform.batch == Batch("v1/batch", most=50)


@pytest.mark.parametrize(
    "value", ["true", "{}", '{ path = "" }', '{ path = "b", most = 1 }', '{ path = "b", form = "x" }']
)
def test_a_batch_that_can_not_be_used_is_told(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="batch: must be"):
        load_config(loaded(tmp_path, OWN + f"batch = {value}\n" + DEMO), {})
