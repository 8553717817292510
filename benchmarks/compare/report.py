"""From the figures of all rounds to tables: medians, ratios of the same round, as text and as Markdown."""

import json
import re
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

Figures = dict[str, float]
# Of each contender, by its name, one per round; `None` where the run was invalid.
Results = dict[str, list[Figures | None]]
Value = Callable[[Results, str], float | None]


class Column(NamedTuple):
    """One column: what stands above it, what it says of a contender, and how that is written (`.1f`)."""

    heading: str
    value: Value
    form: str


class Table(NamedTuple):
    """What a section found. `short` are the few figures that matter, each with its name."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]
    short: list[tuple[str, str]]


class Outcome(NamedTuple):
    """All that was found, and what it was found with. The sections fill the last three."""

    when: str
    versions: dict[str, str]
    rounds: int
    seconds: float
    remarks: list[str]  # who was left out, which runs were invalid, and why
    tables: dict[str, list[Table]]  # by section
    results: dict[str, Results]  # by the title of the table that was made from them


def median_of(figure: str) -> Value:
    """Return what gives the median of a figure over all valid rounds."""

    def value(results: Results, name: str) -> float | None:
        found = [figures[figure] for figures in results.get(name, []) if figures is not None]
        return median(found) if found else None

    return value


def by_round(results: Results, names: Sequence[str], value: Callable[..., float]) -> float | None:
    """Return the median of what `value` makes of the figures that these contenders had in the same round.

    A round counts only if it is valid for all of them; `None` if there is no such round.
    """
    if not names or any(name not in results for name in names):
        return None
    rounds = zip(*(results[name] for name in names), strict=True)
    found = [value(*each) for each in rounds if None not in each]
    return median(found) if found else None


def ratio_to(reference: str, figure: str) -> Value:
    """Return what gives the median ratio of a figure to the reference's of the same round."""

    def value(results: Results, name: str) -> float | None:
        return by_round(results, [name, reference], lambda mine, theirs: mine[figure] / theirs[figure])

    return value


def written(value: float | None, form: str) -> str:
    """Return a number as it stands in a table; a dash if there is none."""
    return "–" if value is None else format(value, form)


def make_table(
    title: str,
    results: Results,
    columns: Sequence[Column],
    notes: Sequence[str] = (),
    short: Sequence[tuple[str, str]] = (),
) -> Table:
    """Return a table with a row for each contender."""
    rows = [[name, *(written(column.value(results, name), column.form) for column in columns)] for name in results]
    return Table(title, ["", *(column.heading for column in columns)], rows, list(notes), list(short))


def as_text(table: Table) -> str:
    """Return a table for a terminal."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.head))]
    aligned = [
        "  ".join(cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(cells))
        for cells in (zip(line, widths, strict=True) for line in lines)
    ]
    return "\n".join([table.title, "", *aligned, *table.notes, ""])


def as_markdown(table: Table) -> str:
    """Return a table for a document."""
    lines = [table.head, ["---", *("---:" for _ in table.head[1:])], *table.rows]
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([f"### {table.title}", "", *rows, "", *(note + "\n" for note in table.notes)])


def in_short(outcome: Outcome) -> Table:
    """Return the few figures that matter, of all sections."""
    rows = [list(each) for tables in outcome.tables.values() for table in tables for each in table.short]
    return Table("In short", ["", "median"], rows, outcome.remarks, [])


def as_json(outcome: Outcome) -> str:
    """Return every figure of every round."""
    figures = outcome._asdict() | {"tables": None, "in_short": dict(in_short(outcome).rows)}
    return json.dumps({name: value for name, value in figures.items() if value is not None}, indent=1)


def as_document(outcome: Outcome) -> str:
    """Return everything as Markdown."""
    found_with = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
    tables = [in_short(outcome), *(table for tables in outcome.tables.values() for table in tables)]
    about = f"{outcome.when}; {outcome.rounds} rounds, {outcome.seconds:g} s each; {found_with}."
    return "\n".join(["", about, "", *map(as_markdown, tables)])


def put_between_markers(document: str, name: str, text: str) -> str:
    """Return the document with the text between `<!-- measured: NAME -->` and the next `<!-- end -->`.

    Raises `ValueError` if there is no such place, or more than one.
    """
    begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    if len(pattern.findall(document)) != 1:
        raise ValueError(f"the document has no place for it, or more than one: {begin} … {end}")
    return pattern.sub(lambda found: found[1] + text + found[2], document)
