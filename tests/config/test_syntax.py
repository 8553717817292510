"""A file that is not TOML: what is told of it, for each of the usual causes; never what may be a secret."""

import tomllib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.syntax import Explanation, explain

STRING = 'a string needs quotes around it: client_id = "…"'
TOML = "the file has to be TOML, with lines such as port = 8080 below a line [server]"


def explained(text: str) -> Explanation:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    return explain(text, caught.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("client_id = s3cret", STRING),
        ("client_id = 0123456789abcdef", STRING),
        ("client_id = 5-3cret", STRING),
        ("client_id = /run/s3cret", STRING),
        ('client_id = "s3cret', "the closing quote is missing"),
        ("client_id = 's3cret", "the closing quote is missing"),
        ('client_id = """s3cret', "the closing quotes are missing"),
        ('client_id = s3cret"', STRING),
        ('client_id = "s3cret" "s3cret"', 'something follows the closing quote (inside, write \\" for ")'),
        ('client_id = "a"s3cret"', 'something follows the closing quote (inside, write \\" for ")'),
        ("client_id = “s3cret”", '“ is a typographic quote, as word processors write it: write a straight one, "'),
        ("client_id = „s3cret”", '„ is a typographic quote, as word processors write it: write a straight one, "'),
        ("client_id = ’s3cret’", '’ is a typographic quote, as word processors write it: write a straight one, "'),
        (
            'client_id\u00a0= "s3cret"',
            "there is an invisible character on the line, U+00A0: type the line again",
        ),
        (
            '\u200bclient_id = "s3cret"',
            "there is an invisible character on the line, U+200B: type the line again",
        ),
        ('client_id = "s3cret";', "remove the ; at the end"),
        ('client_id = "s3cret"; # of s3cret', "remove the ; at the end"),
        ('client_id = "s3cret",', "remove the , at the end"),
        ("port = 8080;", "remove the ; at the end"),
        ("allow_anonymous = true ;", "remove the ; at the end"),
        ("[shops.two];", "remove the ; at the end"),
        ('client_secret = { file = "s3cret" };', "remove the ; at the end"),
        ('client_secret = { file = "s3cret"; }', "put a comma between two entries of { }, not ;"),
        ("client_id = s3cret;", STRING),
        ('client_id = "s3cret;', "the closing quote is missing"),
        ('client_id == "s3cret"', "write a single = between the name and the value"),
        ('client_id => "s3cret"', "write a single = between the name and the value"),
        ("client_id = `s3cret`", 'write " instead of `'),
        ('client_id = ("s3cret")', "write the value without ( and )"),
        ("client_id = $S3CRET", 'variables are not replaced in this file; a secret can be { env = "NAME" }'),
        ("client_id = ${S3CRET}", 'variables are not replaced in this file; a secret can be { env = "NAME" }'),
        ("client_id =", "the value after the = is missing"),
        ("client_id = # s3cret", "the value after the = is missing"),
        ("client_id = None", "TOML has no such value: remove the line"),
        ('client_id: "s3cret"', "write = instead of : between the name and the value"),
        ('client_id "s3cret"', "the = between the name and the value is missing (a name has no spaces)"),
        ('client id = "s3cret"', "the = between the name and the value is missing (a name has no spaces)"),
        ('= "s3cret"', "the name before the = is missing"),
        ('ügyfél = "s3cret"', "a name can contain letters from A to Z, digits, - and _"),
        ("s3cret", "this is neither a [table], nor a setting (name = value), nor a comment (# …)"),
        ("// s3cret", "a comment begins with #"),
        ("; s3cret", "a comment begins with #"),
        (
            'client_secret = { file = "C:\\s3cret" }',
            "in double quotes a backslash begins an escape sequence: write single quotes, 'C:\\folder', or / instead",
        ),
        (
            'client_secret = { file = "C:\\Users\\s3cret" }',
            "in double quotes a backslash begins an escape sequence: write single quotes, 'C:\\folder', or / instead",
        ),
        ("client_secret = { file = s3cret }", 'inside { }, too, a string needs quotes around it: client_secret = "…"'),
        ('client_secret = { file: "s3cret" }', "inside { }, too, write = instead of : between a name and its value"),
        ('client_secret = { file = "s3cret", }', "remove the comma before the closing }"),
        ('client_secret = { file = "s3cret"', "everything from { to } has to be on one line"),
        (
            'client_secret = { file = "s3cret" env = "s3cret" }',
            "put a comma between two entries of { }",
        ),
        ('client_secret = file = "s3cret"', 'write { file = "…" } or { env = "…" }, in { }'),
        ("enabled = True", "write true or false, in lower case and without quotes"),
        ("enabled = yes", "write true or false, in lower case and without quotes"),
        (
            "port = 08080",
            "a number does not begin with 0; if it is not meant as a number, a string needs quotes around it:"
            ' port = "…"',
        ),
        ("port = 8080 9090", "there is more than one value"),
        ("max_body_size = 32MB", "write just the number, without its unit"),
        ("read_timeout = 30 seconds", "write just the number, without its unit"),
        ("max_body_size = 33,554,432", "write the number without a comma"),
        ("trusted_proxies = [10.0.0.1]", "the list lacks its closing ], or a comma between two entries"),
        ("trusted_proxies = [proxy]", "the strings in a list need quotes"),
        ('trusted_proxies = ["a" "b"]', "the list lacks its closing ], or a comma between two entries"),
        ("[shops.demo", "the closing ] after the name of the table is missing"),
        ("[shops.*]", 'the * needs quotes: write [shops."*"]'),
        ("[]", "the name of the table between [ and ] is missing"),
        ("[[shops.demo]", "the name of a table goes in single brackets, such as [shops.demo]"),
        ('[shops.demo] client_secret = "s3cret"', "what follows the name of the table belongs on a line of its own"),
        (
            "[my shop]",
            "the name of a table can contain letters from A to Z, digits, - and _, with dots between its parts",
        ),
        ('{"client_id": "s3cret"}', f"this looks like JSON: {TOML}"),
        ("<client_id>s3cret</client_id>", f"this looks like XML or HTML: {TOML}"),
        ("shops:", f"this looks like YAML: {TOML}"),
        ("- s3cret", f"this looks like YAML: {TOML}"),
        (
            "SHOP_AUTH_PROXY_CLIENT_SECRET=s3cret",
            "this is an environment variable: set it in the shell or service, or write the setting that it stands for",
        ),
        ("export SECRET=s3cret", "this is a line for a shell, not for this file"),
        ("<<<<<<< HEAD", "this is left over from a merge: keep one of the two versions, and remove this line"),
        ("=======", "this is left over from a merge: keep one of the two versions, and remove this line"),
        ("```toml", "this line is Markdown, from a text around the file: remove it"),
        ('client_id = "s3cret\x07"', "there is an invisible character on the line, U+0007: type the line again"),
        (
            'client_id = "s3cret"\r# more',
            "a carriage return alone ends no line: save the file with the line ends of Linux or Windows",
        ),
        ('client_id = "s3cret", port = 80', "the next setting belongs on a line of its own"),
        ("client_id = 's3cret'; port = 80", "the next setting belongs on a line of its own"),
        ("port = 80 client_id = 's3cret'", "the next setting belongs on a line of its own"),
        ("port = 8_080_", "write the number with digits and one point between digits, such as 1.5"),
        ("max_share = .5", "write the number with digits and one point between digits, such as 1.5"),
        ("read_timeout = 1.000,5", "write the number with digits and one point between digits, such as 1.5"),
    ],
)
def test_the_usual_cause_is_told_with_the_line_and_shows_no_value(line: str, sentence: str) -> None:
    text = f"# first\r\n{line}\n[server]\nport = 1\n"

    found = explained(text)

    assert (found.line, found.sentence) == (2, sentence)
    assert found.excerpt[0].startswith("2 | ")
    assert "s3cret" not in "".join(found.excerpt) + found.sentence


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        (
            "[shops.demo]\n[server]\n[shops.demo]\n",
            3,
            "[shops.demo] appears twice, first in line 1: put all its settings below one of the two",
        ),
        (
            '[shops."*"]\na = { b = 1 }\n[shops."*".a]\n',
            3,
            '[shops."*".a] appears twice, first in line 2: put all its settings below one of the two',
        ),
        (
            '[server]\nport = 1\n[shops.demo]\nclient_id = "a"\n\nclient_id = "b"\n',
            6,
            "shops.demo.client_id is set twice, first in line 4: remove one of the two",
        ),
        (
            'shops = { demo = { client_id = "a" } }\n[shops.other]\n',
            2,
            "shops is written as a whole, first in line 1: write this table in there",
        ),
        ("port = 1\nport = 2", 2, "port is set twice, first in line 1: remove one of the two"),
        ("a = { b = 1, b = 2 }", 1, "a is set twice: remove one of the two"),
        (
            '[server]\ntrusted_proxies = [\n  "10.0.0.0/8"\n\n[admin]\nport = 1\n',
            2,
            "the list that begins here has no closing ], or a comma is missing in it",
        ),
        ("[server]\nhost = '\n\n[admin]\nport = 1\n", 2, "the closing quote is missing"),
    ],
)
def test_what_began_further_up_is_told_with_the_line_where_it_began(text: str, line: int, sentence: str) -> None:
    found = explained(text)

    assert (found.line, found.sentence) == (line, sentence)


def test_the_line_is_shown_with_a_caret_and_values_only_where_they_can_be_no_secret() -> None:
    assert explained("[server]\nport = 80 80\n").excerpt == ("2 | port = 80 80", "  |           ^")
    assert explained("\tclient_id = ab-c\n").excerpt == ("1 |  client_id = ····", "  |              ^")
    assert explained("port = 80 80 # abc").excerpt[0] == "1 | port = ·· ·· # ···"


def test_of_a_long_line_the_part_with_the_mistake_is_shown() -> None:
    first, second = explained(f'hosts = ["{"x" * 400}" y{"z" * 400}]').excerpt

    assert len(first) < 120
    assert first[second.index("^")] == "·"


@given(st.text(alphabet="ab=[]{}\"'#.,:\\ \n\r\t\u00a0“-1", max_size=40))
def test_whatever_stands_there_there_is_a_sentence_and_a_caret(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = explain(text, error)
        assert 1 <= found.line <= text.count("\n") + 1
        assert "\n" not in found.sentence
        assert found.excerpt[1].endswith("^")
        with suppress(IndexError):
            assert len(found.excerpt[1]) <= len(found.excerpt[0]) + 2
