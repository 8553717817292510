"""What is searched of an event: all but what is our own, and of that not a word is hidden."""

import ast
import io
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import ClientUnauthenticated, UnknownShop
from proxy.guards.access import NO_CREDENTIALS, WRONG_CREDENTIALS
from proxy.secret import HIDDEN
from proxy.telemetry.logs import make_logger
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.writing import LogWriter

PROXY = Path(__file__).resolve().parents[2] / "proxy"


def logged(redactor: Redactor, event: str, **fields: Any) -> dict[str, Any]:
    """The line of one event, without its time."""
    stream = io.StringIO()
    make_logger(log_format="json", level="debug", redactor=redactor, writer=LogWriter(stream)).info(event, **fields)
    line: dict[str, Any] = json.loads(stream.getvalue())
    del line["timestamp"]
    return line


def test_no_secret_hides_names_levels_or_constants_of_ours() -> None:
    redactor = Redactor()
    for secret in ("info", "level", "e", "request", "forwarded", "status", "client_unauthenticated"):
        redactor.add(secret)
    for token in ("configuration.not_reloaded", "asked_again_after", "compare client_id and client_secret"):
        redactor.add_transient(token)
    fields = {
        "status": 200,
        "code": "client_unauthenticated",
        "asked_again_after": 1.5,
        "fix": "compare client_id and client_secret",
    }
    for event in ("request.forwarded", "configuration.not_reloaded"):
        assert logged(redactor, event, **fields) == {"level": "info", "event": event, **fields}


@pytest.mark.parametrize(
    "name", ["path", "detail", "reason", "a_field_that_nobody_knows", "request_id", "Strange name"]
)
def test_known_secrets_are_hidden_in_every_field_that_is_not_known_to_be_ours(name: str) -> None:
    redactor = Redactor()
    redactor.add_transient("a-token-of-the-shop")
    redactor.add("configured/secret")
    for text in ("/a-token-of-the-shop/x", "There is no shop 'a-token-of-the-shop'", "configured%2Fsecret"):
        assert HIDDEN in logged(redactor, "a.b", **{name: text})[name]
        assert HIDDEN in logged(redactor, "a.b", shop="demo", **{name: [text]})[name][0]


def test_all_texts_of_a_line_are_searched_if_one_has_something_to_hide() -> None:
    redactor = Redactor()
    redactor.add_transient("a-token-of-the-shop")
    line = logged(redactor, "a.b", one="a-token-of-the-shop", two="x", three="Bearer abc", four="x a-token-of-the-shop")
    assert (line["one"], line["two"], line["three"], line["four"]) == (HIDDEN, "x", f"Bearer {HIDDEN}", f"x {HIDDEN}")


def test_a_secret_is_not_taken_for_one_that_begins_in_one_field_and_ends_in_the_next() -> None:
    redactor = Redactor()
    redactor.add("first-half/second-half")
    fields = {"one": "first-half", "two": "second-half"}
    assert logged(redactor, "a.b", **fields) == {"level": "info", "event": "a.b", **fields}


@pytest.mark.parametrize(
    "error",
    [
        ClientUnauthenticated(NO_CREDENTIALS, reason="no credentials"),
        ClientUnauthenticated(WRONG_CREDENTIALS, reason="neither HTTP Basic nor Bearer"),
        ClientUnauthenticated(WRONG_CREDENTIALS, reason="HTTP Basic without a colon between name and secret"),
        UnknownShop("There is no shop 'bearer-token' here."),
    ],
)
def test_what_the_proxy_says_of_a_refusal_is_shown_whole(error: ClientUnauthenticated | UnknownShop) -> None:
    line = logged(Redactor(), "request.refused", code=error.code, detail=error.detail, reason=error.reason)
    assert (line["code"], line["detail"], line["reason"]) == (error.code, error.detail, error.reason)


def test_problems_of_the_configuration_are_shown_whole() -> None:
    problems = ("clients.erp.secret: is missing: write it", "shops.demo.client_secret: stands beside secret: remove it")
    redactor = Redactor()
    redactor.add("misplaced-secret")
    line = logged(redactor, "configuration.not_reloaded", problems=(*problems, "unknown key misplaced-secret"))
    assert line["problems"] == [*problems, f"unknown key {HIDDEN}"]


def sentences(file: Path) -> list[str]:
    """The texts in a module that are no docstrings."""
    tree = ast.parse(file.read_bytes())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


# What commands print, and problems of the configuration, are not searched for what stands behind a name.
@pytest.mark.parametrize(
    "room", ["admin", "app", "certificate.py", "errors.py", "forwarding", "guards", "platforms", "tokens"]
)
def test_no_sentence_of_ours_looks_like_a_credential(room: str) -> None:
    files = [PROXY / room] if room.endswith(".py") else list((PROXY / room).rglob("*.py"))
    redactor = Redactor()
    found = {text for file in files for text in sentences(file)}
    assert len(found) > 10
    assert {text for text in found if " " in text and redactor.redact(text) != text} == set()
