"""The page of codes: it explains each code that the proxy answers, in the words of the guide."""

import re
from pathlib import Path

from proxy.admin.codes import MEANINGS, codes_page, link_to

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def test_each_code_has_the_words_of_the_guide() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| `(\w+)` \| (.*) \|$", GUIDE, re.MULTILINE)

    assert {code: (statuses, re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", words)) for statuses, code, words in rows} == {
        code: tuple(meaning) for code, meaning in MEANINGS.items()
    }


def test_a_code_leads_to_its_row() -> None:
    page = codes_page()

    for code in (*MEANINGS, "http_401", "http_429", "http_503"):
        assert f'<tr id="{link_to(code).partition("#")[2]}">' in page
    assert link_to("http_503") == "/codes#http"
    assert "<code>client_id</code>" in page
