"""Medians, ratios of the same round, and tables."""

import json

import pytest

from benchmarks.compare.report import (
    Column,
    Outcome,
    Results,
    Table,
    as_document,
    as_json,
    as_markdown,
    as_text,
    by_round,
    in_short,
    make_table,
    median_of,
    put_between_markers,
    ratio_to,
)

# The second round was slow for all, the third is invalid for one of them.
RESULTS: Results = {
    "mine": [{"cpu": 40.0}, {"cpu": 90.0}, {"cpu": 1000.0}],
    "theirs": [{"cpu": 20.0}, {"cpu": 30.0}, None],
}
TABLE = Table(
    "A call", ["", "µs", "ratio"], [["mine", "40.0", "2.50"], ["theirs", "1.0", "–"]], ["A note."], [("r", "2")]
)


def outcome(table: Table = TABLE) -> Outcome:
    return Outcome("today", {"nginx": "1.2"}, 3, 2.0, ["left out: x"], {"calls": [table]}, {"A call": RESULTS})


def test_a_median_is_of_all_valid_rounds() -> None:
    assert median_of("cpu")(RESULTS, "mine") == 90.0
    assert median_of("cpu")(RESULTS, "theirs") == 25.0


def test_a_ratio_is_the_median_of_the_ratios_of_the_same_round() -> None:
    assert ratio_to("theirs", "cpu")(RESULTS, "mine") == 2.5  # of 40 / 20 and 90 / 30; not 90 / 25
    assert ratio_to("theirs", "cpu")(RESULTS, "theirs") == 1.0


def test_there_is_no_ratio_to_whoever_did_not_take_part_or_was_never_valid() -> None:
    assert ratio_to("nobody", "cpu")(RESULTS, "mine") is None
    assert ratio_to("theirs", "cpu")({"mine": [{"cpu": 1.0}], "theirs": [None]}, "mine") is None
    assert median_of("cpu")({"theirs": [None]}, "theirs") is None


def test_what_is_made_of_several_is_of_the_same_round_too() -> None:
    assert by_round(RESULTS, ["mine", "theirs"], lambda mine, theirs: mine["cpu"] - theirs["cpu"]) == 40.0


def test_a_table_has_a_row_for_each_and_a_dash_where_nothing_is_known() -> None:
    columns = [Column("µs", median_of("cpu"), ".1f"), Column("ratio", ratio_to("nobody", "cpu"), ".2f")]

    table = make_table("A call", RESULTS, columns, ["A note."])

    assert (table.head, table.rows) == (["", "µs", "ratio"], [["mine", "90.0", "–"], ["theirs", "25.0", "–"]])


def test_a_table_for_the_terminal_is_aligned() -> None:
    assert as_text(TABLE) == (
        "A call\n"
        "\n"
        "          µs  ratio\n"
        "mine    40.0   2.50\n"
        "theirs   1.0      –\n"
        "A note.\n"
    )  # fmt: skip


def test_a_table_in_markdown() -> None:
    assert as_markdown(TABLE) == (
        "### A call\n"
        "\n"
        "|  | µs | ratio |\n"
        "| --- | ---: | ---: |\n"
        "| mine | 40.0 | 2.50 |\n"
        "| theirs | 1.0 | – |\n"
        "\n"
        "A note.\n"
    )  # fmt: skip


def test_in_short_are_the_figures_that_matter_and_what_was_left_out() -> None:
    assert (in_short(outcome()).rows, in_short(outcome()).notes) == ([["r", "2"]], ["left out: x"])


def test_the_document_says_what_it_was_measured_with() -> None:
    text = as_document(outcome())

    assert "today; 3 rounds, 2 s each; nginx 1.2." in text
    assert text.index("### In short") < text.index("### A call")


def test_the_json_has_every_figure_of_every_round() -> None:
    written = json.loads(as_json(outcome()))

    assert written["results"]["A call"] == RESULTS
    assert (written["in_short"], written["versions"]) == ({"r": "2"}, {"nginx": "1.2"})


def test_a_text_is_put_between_its_markers_and_nothing_else_is_changed() -> None:
    document = "# A\n<!-- measured: a -->\nold\n<!-- end -->\nB\n<!-- measured: b -->\n<!-- end -->\n"

    changed = put_between_markers(document, "b", "\\1 new\n")

    assert changed == document.replace("b -->\n", "b -->\n\\1 new\n")
    assert put_between_markers(changed, "b", "") == document


@pytest.mark.parametrize("document", ["", "<!-- measured: a -->\n", "<!-- measured: a -->\n<!-- end -->\n" * 2])
def test_a_document_without_the_one_place_for_it_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="no place for it, or more than one"):
        put_between_markers(document, "a", "text")
