"""A PHP connector of 2015, unchanged but for its URL or a line in /etc/hosts: see connector.php."""

import json
import shutil
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from proxy.simulator.recording import RecordedRequest
from tests.legacy.programs import run
from tests.legacy.shops import API_HOST, OLD_HOST, LegacyShop, assert_signed_in_with_one_token, legacy_shop

CONNECTOR = Path(__file__).with_name("connector.php")
API = f"https://{API_HOST}/api"
OLD_USER, OLD_PASSWORD = b"old-api-user", b"old-api-password"


@pytest.fixture(autouse=True)
async def php_with_curl() -> None:
    has_curl = shutil.which("php") and "curl" in (await run("php", "-m")).stdout.splitlines()
    if not has_curl:
        pytest.skip("needs PHP with its curl extension; on Debian: apt-get install php-cli php-curl php-xml")


async def report_of(base: str, *options: str) -> dict[str, dict[str, Any]]:
    """What the connector reports, step by step."""
    ended = await run("php", CONNECTOR, base, *options)
    assert (ended.status, ended.stderr) == (0, "")
    report: dict[str, dict[str, Any]] = json.loads(ended.stdout)
    return report


def assert_all_went_well(report: dict[str, dict[str, Any]], base: str) -> None:
    """What the application got."""
    # The connector has checked each status; these are all its steps.
    assert [step["status"] for step in report.values()] == [*[200] * 7, 201, 201, 200, 200, 200, 204, 204, 404, 404]
    assert all(step["url"].startswith(f"{base}/") for step in report.values())
    links = report["list"]["links"]
    assert len(set(links + report["next page"]["links"])) == 10
    assert report["list, JSON"]["links"] == links
    assert report["next page, JSON"]["page"] == "1"
    assert report["product"]["sku"] == report["product, JSON"]["sku"] == "SKU-00001"
    assert report["nested link, JSON"]["name"].startswith("Gyártó ")

    manufacturer = report["nested link, JSON"]["url"]
    made, also_made = report["create, form"]["product"], report["create, JSON"]["product"]
    assert (made["sku"], made["price"], made["manufacturer"]) == ("FORM-1", "1990.0000", {"href": manufacturer})
    assert (also_made["sku"], also_made["price"], also_made["manufacturer"]["href"]) == ("JSON-1", "2990", manufacturer)
    assert also_made["imageAlt"] == "Árvíztűrő " * 200
    assert report["create, JSON"]["continued"]
    assert (report["read again"]["sku"], report["read again"]["price"]) == ("FORM-1", "2490.0000")
    assert report["batch"]["parts"] == [
        {"uri": f"{link}?full=1", "status": "200", "sku": sku}
        for link, sku in [(links[0], "SKU-00001"), (links[1], "SKU-00002"), (made["href"], "FORM-1")]
    ]


def assert_the_platform_saw_its_own(site: LegacyShop, base: str) -> None:
    """What came to the platform: its own links, the proxy's token, and nothing that is the application's alone."""
    calls = list(site.platform.api_requests)
    assert_signed_in_with_one_token(site)
    seen = b"".join(_bytes_of(call) for call in calls)
    for secret in (OLD_USER, OLD_PASSWORD, b"Basic ", base.encode(), base.replace("/", "\\/").encode(), b"127.0.0.1"):
        assert secret not in seen

    a_form, a_document = [call for call in calls if (call.method, call.target) == ("POST", "/api/products")]
    form = _form_of(a_form)
    assert (form["data[sku]"], form["data[price]"]) == ("FORM-1", "1990.0000")
    manufacturer = form["data[manufacturer][href]"]
    assert manufacturer.startswith(f"{API}/manufacturers/")
    assert json.loads(a_document.body)["data"]["manufacturer"] == {"href": manufacturer}

    [batch] = [call for call in calls if call.target == "/api/batch"]
    uris = [part["uri"] for part in json.loads(batch.body)["data"]["requests"]]
    assert len(uris) == 3
    assert all(uri.startswith(f"{API}/products/") and uri.endswith("?full=1") for uri in uris)

    assert [call.body for call in calls if call.method == "PUT"] == [b"data%5Bprice%5D=2490.0000"]
    deleted = [call for call in calls if call.method == "DELETE"]
    assert [call.body for call in deleted] == [b"", b"data[reason]=sold+out"]
    assert f"https://{API_HOST}{deleted[0].target}?full=1" == uris[2]
    for call in calls:
        lengths = call.header_values("Content-Length")
        assert lengths == ([str(call.body_length).encode()] if call.body else lengths)


def _bytes_of(call: RecordedRequest) -> bytes:
    head = b"".join(name + b": " + value + b"\n" for name, value in call.raw_headers)
    return call.target.encode() + b"\n" + head + call.body


def _form_of(call: RecordedRequest) -> dict[str, str]:
    """The fields of a multipart body, read by another reader than the simulator's own."""
    [content_type] = call.header_values("Content-Type")
    message = message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + call.body, policy=policy.HTTP)
    parts = message.iter_parts()
    return {str(part.get_param("name", header="content-disposition")): part.get_content() for part in parts}


@pytest.mark.parametrize("options", [[], ["--without-simplexml"]], ids=["simplexml", "no simplexml"])
async def test_a_connector_whose_url_was_changed_works(tmp_path: Path, options: list[str]) -> None:
    async with legacy_shop(tmp_path) as site:
        base = f"http://127.0.0.1:{site.proxy.port}/demo"
        report = await report_of(base, *options)

    assert_all_went_well(report, base)
    assert_the_platform_saw_its_own(site, base)


async def test_a_connector_that_only_got_a_line_in_the_hosts_file_works(tmp_path: Path) -> None:
    async with legacy_shop(tmp_path) as site:
        base = f"http://{OLD_HOST}:{site.proxy.port}"
        report = await report_of(base, f"--resolve={OLD_HOST}:{site.proxy.port}:127.0.0.1")

    assert_all_went_well(report, base)
    assert_the_platform_saw_its_own(site, base)


async def test_the_connector_says_what_it_can_not_work_with(tmp_path: Path) -> None:
    async with legacy_shop(tmp_path) as site:
        base = f"http://127.0.0.1:{site.proxy.port}/no-such-shop"
        ended = await run("php", CONNECTOR, base)

    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"connector: list: GET {base}/products?limit=5: 200 was expected, 404 came: ")
    assert "<code>unknown_shop</code>" in ended.stderr
