"""A head is read once: what is a field, what becomes of each, and where those are that matter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.head import PASSES, STOPS, BrokenFieldError, FieldTable, Head, is_field, is_text

KNOWN = {
    b"connection": STOPS,
    b"keep-alive": STOPS,
    b"close": STOPS,
    b"x-stops": STOPS,
    b"x-asked": PASSES,
    b"accept-encoding": PASSES,
}


def table(*, twins: bool = False, stops: tuple[bytes, ...] = (), unlearned: tuple[bytes, ...] = ()) -> FieldTable:
    return FieldTable(KNOWN, twins=twins, stops=stops, unlearned=unlearned)


LEARNING = table()


# What is a field (RFC 9110 §5.1, §5.5)


@pytest.mark.parametrize("byte", range(0x100))
def test_a_control_in_a_value_is_no_part_of_a_field(byte: int) -> None:
    is_control = (byte < 0x20 and byte != 0x09) or byte == 0x7F

    for value in (b"x%sy", b"%s", b"x%s", b"%sy"):
        assert is_field(b"A: " + value % bytes([byte])) is not is_control
        assert is_text(value % bytes([byte])) is not is_control


@pytest.mark.parametrize("byte", range(0x100))
def test_a_name_is_a_token(byte: int) -> None:
    is_token = chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "!#$%&'*+-.^_`|~")

    for name in (b"x%sy", b"%s", b"x%s", b"%sy"):
        # A colon ends the name.
        assert is_field(name % bytes([byte]) + b": v") is (is_token or (byte == 0x3A and not name.startswith(b"%")))


@pytest.mark.parametrize(
    "line", [b"", b"A", b": v", b":", b"A : v", b"A\t: v", b" A: v", b"\tA: v", b"A: v\n", b"A: v\r\n"]
)
def test_what_else_is_no_field(line: bytes) -> None:
    assert not is_field(line)
    for _ in range(2):  # whatever the table remembers of it
        with pytest.raises(BrokenFieldError):
            Head([b"X: y", line], LEARNING)


@pytest.mark.parametrize("line", [b"A:", b"A: ", b"A:v", b"a:\tv\t", b"A: v: w", b"A::", b"1: \xff"])
def test_what_is_odd_and_yet_a_field(line: bytes) -> None:
    assert is_field(line)


def test_an_empty_text_is_a_text() -> None:
    assert is_text(b"")


# What becomes of the fields


def test_what_passes_passes_in_order_with_its_case_and_its_bytes() -> None:
    lines = [b"a: 1", b"A:", b"X-Stops: 2", b"X:\xe1\t", b"a: \t1  ", b"b:1: 2"]

    assert Head(lines, table()).passing == b"a: 1\r\nA: \r\nX: \xe1\r\na: 1\r\nb: 1: 2\r\n"


def test_nothing_passes_of_nothing() -> None:
    head = Head([], table())

    assert (head.passing, head.fields, head.first, head.repeated, head.closes) == (b"", [], {}, False, False)


@pytest.mark.parametrize("name", [b"X-Stops", b"x-stops", b"X-STOPS"])
def test_a_name_is_known_in_any_case(name: bytes) -> None:
    head = Head([b"A: 1", name + b": 2"], table())

    assert head.passing == b"A: 1\r\n"
    assert (head.first, head.values(b"x-stops")) == ({b"x-stops": b"2"}, [b"2"])


@pytest.mark.parametrize("name", [b"X-Internal-", b"x-internal-Anything", b"X-INTERNAL-a"])
def test_names_that_begin_like_what_stops_stop_too(name: bytes) -> None:
    head = Head([name + b": 1", b"X-Internal: 2"], table(stops=(b"x-internal-",)))

    assert head.passing == b"X-Internal: 2\r\n"


def test_the_twin_of_what_stops_stops_and_counts_as_nothing_else() -> None:
    lines = [b"X_Stops: 1", b"X_Internal-a: 2", b"x_internal_b: 3", b"Accept_Encoding: br", b"X_Asked_: 4"]
    lines += [b"X.Stops: 5", b"x.internal-c: 6"]  # PHP makes underscores of full stops
    with_twins = Head(lines, table(twins=True, stops=(b"x-internal-",)))

    assert with_twins.passing == b"Accept_Encoding: br\r\nX_Asked_: 4\r\n"
    assert with_twins.values(b"x-stops") == with_twins.values(b"accept-encoding") == []
    assert with_twins.values(b"accept_encoding") == [b"br"]


def test_where_no_program_sees_variables_there_are_no_twins() -> None:
    assert Head([b"X_Stops: 1"], table()).passing == b"X_Stops: 1\r\n"


def test_known_fields_are_found_where_they_are() -> None:
    head = Head([b"X-Asked: One,two ,\tTHREE", b"B: no", b"x-asked: four,,", b"Accept-Encoding: x"], table())

    assert head.first == {b"x-asked": b"One,two ,\tTHREE", b"accept-encoding": b"x"}
    assert head.repeated
    assert head.values(b"x-asked") == [b"One,two ,\tTHREE", b"four,,"]
    assert head.values(b"accept-encoding") == [b"x"]
    assert head.members(b"x-asked") == [b"one", b"two", b"three", b"four", b"", b""]


def test_what_is_not_there_is_nothing() -> None:
    head = Head([b"A: 1", b"a: 2"], table())

    assert (head.values(b"x-asked"), head.members(b"x-asked")) == ([], [])
    assert not head.repeated  # nobody asks for what the table does not know


# What Connection names (RFC 9110 §7.6.1)


@pytest.mark.parametrize(
    "connection",
    [
        [b"X-One, x-two"],
        [b"close", b"X-ONE", b"x-two"],
        [b"keep-alive,,\tx-one ,X-Two, "],
        [b"x_one, X-two"],  # as they are where fields become variables
    ],
)
def test_what_any_connection_line_names_stops_wherever_it_stands(connection: list[bytes]) -> None:
    lines = [b"X-One: 1", *(b"Connection: " + value for value in connection), b"x-one: 2", b"X_Two: 3", b"X-Three: 4"]

    assert Head(lines, table()).passing == b"X-Three: 4\r\n"


@pytest.mark.parametrize(
    "connection", [b"close", b"keep-alive", b"Keep-Alive", b"", b",", b"x-stops", b"Close, X-Other"]
)
def test_other_connection_lines_stop_nothing_more(connection: bytes) -> None:
    lines = [b"Connection: " + connection, b"X-One: 1", b"Keep-Alive: 5", b"X-Stops: 1", b"Close: 1"]

    assert Head(lines, table()).passing == b"X-One: 1\r\n"


# What is changed


def test_a_field_passes_with_another_value_or_not_at_all() -> None:
    head = Head([b"x-ASKED: 1", b"B: 2", b"X-Asked: 3"], table())
    assert head.passing == b"x-ASKED: 1\r\nB: 2\r\nX-Asked: 3\r\n"
    head.change((b"x-asked",), lambda _, value: b"other" if value == b"1" else None)
    head.add(b"C", b"4")

    assert head.passing == b"x-ASKED: other\r\nB: 2\r\nC: 4\r\n"
    assert head.values(b"x-asked") == [b"1", b"3"]  # as they came


def test_what_stops_does_not_come_back_with_another_value() -> None:
    head = Head([b"Connection: X-Asked", b"X-Asked: 1", b"X-Stops: 2"], table())
    for name in (b"x-asked", b"x-stops", b"connection"):
        head.change((name,), lambda _, __: b"other")

    assert head.passing == b""


def test_fields_stop_by_their_names_and_so_do_their_twins() -> None:
    head = Head([b"Content-MD5: 1", b"content_md5: 2", b"Content-MD: 3", b"Digest: 4"], table())
    assert head.passing.count(b"\r\n") == 4
    head.stop([b"content-md5", b"digest"])
    assert head.passing == b"Content-MD: 3\r\n"

    head.stop([])
    assert head.passing == b"Content-MD: 3\r\n"


def test_a_copy_changes_alone() -> None:
    """The heads of requests that follow each other are one, if they are the same."""
    lines = [b"X-Asked: 1", b"Connection: close", b"B: 2", b"X-Asked: 3"]
    head = Head(lines, table())
    copies = [head.copy(), head.copy(), head.copy()]
    copies[0].change((b"x-asked",), lambda _, __: b"other")
    copies[1].add(b"C", b"4")
    copies[2].stop([b"b"])

    whole = b"X-Asked: 1\r\nB: 2\r\nX-Asked: 3\r\n"
    assert [copy.passing for copy in copies] == [
        b"X-Asked: other\r\nB: 2\r\nX-Asked: other\r\n",
        whole + b"C: 4\r\n",
        b"X-Asked: 1\r\nX-Asked: 3\r\n",
    ]
    assert head.passing == head.copy().passing == whole
    assert (head.copy().first, head.copy().values(b"x-asked"), head.copy().closes) == (head.first, [b"1", b"3"], True)


# Whether the connection ends with the message (RFC 9112 §9.6)


@pytest.mark.parametrize(
    ("connection", "closes"),
    [
        ([], False),
        ([b"close"], True),
        ([b"Close"], True),
        ([b"keep-alive"], False),
        ([b"Keep-Alive"], False),
        ([b"keep-alive, close"], True),
        ([b"X-Asked,\tCLOSE ,"], True),
        ([b"keep-alive", b"close"], True),
        ([b"close", b"keep-alive"], True),
        ([b"keep-alive", b"keep-alive"], False),
        ([b"closed"], False),
        ([b""], False),
    ],
)
def test_close_among_the_members_of_connection_ends_it(connection: list[bytes], closes: bool) -> None:
    assert Head([b"Connection: " + value for value in connection], table()).closes is closes


# What is remembered of lines


def test_a_line_that_was_there_before_is_known_by_the_table_and_reads_the_same() -> None:
    kept = table()
    lines = [b"X-Asked: 1", b"X-Stops: 2", b"B: 3"]
    first = Head(lines, kept)

    assert set(kept.learned) == set(lines)
    again = Head(lines, kept)
    assert (again.fields, again.first) == (first.fields, first.first)


def test_what_is_changed_in_one_head_is_not_so_in_the_next() -> None:
    kept = table()
    head = Head([b"X-Asked: 1"], kept)
    head.change((b"x-asked",), lambda _, __: b"2")

    assert Head([b"X-Asked: 1"], kept).passing == b"X-Asked: 1\r\n"


@pytest.mark.parametrize(
    "name",
    [
        *(b"Authorization", b"Proxy-Authorization", b"Cookie", b"Set-Cookie", b"X-Api-Key", b"X-Auth"),
        *(b"Client-Secret", b"X-CSRF-Token", b"X-Session-ID", b"X-Password"),
    ],
)
def test_what_may_be_secret_is_not_remembered(name: bytes) -> None:
    kept = table()
    for spelled in (name, name.lower(), name.upper()):
        assert Head([spelled + b": s3cret"], kept).fields[0].value == b"s3cret"

    assert kept.learned == {}


def test_what_differs_each_time_is_not_remembered() -> None:
    kept = table(unlearned=(b"x-asked",))
    Head([b"X-Asked: 1", b"B: 2"], kept)

    assert set(kept.learned) == {b"B: 2"}


def test_neither_long_lines_nor_too_many_are_remembered() -> None:
    kept = table()
    Head([b"A: ".ljust(64, b"x"), b"A: ".ljust(65, b"x")], kept)
    assert [len(line) for line in kept.learned] == [64]

    for number in range(10_000):
        Head([b"X-%d: y" % number], kept)
        assert max(len(kept.learned), len(kept._names)) <= 1000
    assert b"X-9999: y" in kept.learned


def test_what_is_no_field_is_not_remembered() -> None:
    kept = table()
    with pytest.raises(BrokenFieldError):
        Head([b"A : b"], kept)

    assert kept.learned == {}


NAMES = st.sampled_from(
    [b"Connection", b"X-Stops", b"X_Stops", b"x-asked", b"X-Asked", b"A", b"b", b"Cookie", b"Close"]
)
VALUES = st.sampled_from([b"", b"1", b" 2 ", b"x-asked", b"A, b", b"close", b"keep-alive", b"\xff\t", b"y" * 70])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8).map(lambda pairs: [name + b":" + value for name, value in pairs]))
def test_a_head_reads_the_same_whether_its_lines_were_there_before_or_not(lines: list[bytes]) -> None:
    fresh, kept = Head(lines, table(twins=True)), table(twins=True)
    for _ in range(2):
        Head(lines, kept)
    known = Head(lines, kept)

    assert (known.fields, known.first, known.repeated) == (fresh.fields, fresh.first, fresh.repeated)
    assert (known.passing, known.closes) == (fresh.passing, fresh.closes)
    for name, first in known.first.items():
        written = [line.partition(b":") for line in lines]
        values = [value.strip(b" \t") for spelled, _, value in written if spelled.lower() == name]
        assert (known.values(name), first) == (values, values[0])
    assert known.repeated is any(len(known.values(name)) > 1 for name in known.first)
