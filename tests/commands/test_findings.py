"""What `check` finds stands in columns, and in colours where they are welcome."""

import io

import pytest

from proxy.commands.findings import Finding, Lines
from tests.proxies import platform, shop


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colored"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colors_are_for_terminals_that_want_them(stream: io.StringIO, environ: dict[str, str], colored: bool) -> None:
    lines = Lines([shop("demo", platform(1, 2)), shop("b", platform(1, 2))], stream, environ)

    lines.show(Finding("demo", "mine", True, "granted", "for 60 s"))
    lines.show(Finding("b", "mine", False, "refused", "why"))
    lines.show(Finding("b", "mine", None, "not reached", "warning"))

    text = stream.getvalue()
    paints = ["\x1b[32m", "\x1b[31m", "\x1b[33m"]
    assert [line.count(paint) for line, paint in zip(text.splitlines(), paints, strict=True)] == [colored] * 3
    for paint in (*paints, "\x1b[0m"):
        text = text.replace(paint, "")
    width = len(platform(1, 2).name)
    assert [line.replace(" " * (width - 4), "", 1) for line in text.splitlines()] == [
        "demo  mine  granted      for 60 s",
        "b     mine  refused      why",
        "b     mine  not reached  warning",
    ]
