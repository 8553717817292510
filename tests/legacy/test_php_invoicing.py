"""A PHP script of 2010 that knows forms and XML alone, and shows what an error says: see invoicing.php."""

import json
import shutil
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from proxy.config import ClientConfig
from proxy.secret import Secret
from tests.legacy.programs import run
from tests.legacy.shops import API_HOST, assert_signed_in_with_tokens, legacy_shop

SCRIPT = Path(__file__).with_name("invoicing.php")
USER, PASSWORD = "invoicing", "jelszó-és-még-egy"
READABLE = frozenset({"product:read", "product:write", "manufacturer:read"})


@pytest.fixture(autouse=True)
async def php_with_simplexml() -> None:
    has_simplexml = shutil.which("php") and "SimpleXML" in (await run("php", "-m")).stdout.splitlines()
    if not has_simplexml:
        pytest.skip("needs PHP with its SimpleXML extension; on Debian: apt-get install php-cli php-xml")


async def test_a_script_that_knows_forms_and_xml_alone_works_and_can_read_all_that_goes_wrong(tmp_path: Path) -> None:
    clients = {USER: ClientConfig(secret=Secret(PASSWORD))}
    async with legacy_shop(tmp_path, clients=clients, scopes=READABLE) as site:
        base = f"http://127.0.0.1:{site.proxy.port}/demo"
        ended = await run("php", SCRIPT, base, USER, PASSWORD)

    assert (ended.status, ended.stderr) == (0, "")
    report = json.loads(ended.stdout)
    assert {step: found["status"] for step, found in report.items()} == {
        **{"list": 200, "next page": 200, "create": 201, "change": 200, "delete": 204},
        **{"gone": 404, "not permitted": 401, "no such shop": 404, "climbing": 400, "wrong password": 401},
    }
    assert report["list"]["skus"] == ["SKU-00001", "SKU-00002", "SKU-00003"]
    assert report["list"]["next"].startswith(f"{base}/products?")
    assert report["create"]["manufacturer"].startswith(f"{base}/manufacturers/")
    assert report["create"]["imageAlt"] == "Árvíztűrő tükörfúrógép & <co>"
    assert report["change"]["price"] == "2490.0000"

    # The platform's own words, and the proxy's
    assert report["gone"]["message"] == "The resource does not exist"
    assert report["not permitted"]["message"] == "You have no permission for this operation!"
    assert report["no such shop"]["message"] == (
        "There is no shop 'no-such-shop' here. The first part of the path must be a shop's name."
    )
    assert report["climbing"]["message"] == "The path must not contain '.' or '..' segments, encoded or not."
    assert report["wrong password"]["message"] == "These are not the credentials of a client of this proxy."

    calls = list(site.platform.api_requests)
    assert_signed_in_with_tokens(site, 2)  # another for what is not permitted
    [form] = [dict(parse_qsl(call.body.decode())) for call in calls if call.method == "POST"]
    assert form["data[sku]"] == "INV-1"
    assert form["data[manufacturer][href]"].startswith(f"https://{API_HOST}/api/manufacturers/")
