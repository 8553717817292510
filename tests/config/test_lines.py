"""Where the settings of a file stand, for messages."""

from pathlib import Path

import pytest

from proxy.config import ConfigError, load_config
from proxy.config.lines import line_of, lines_of
from tests.config.written import DEMO

TEXT = """\
# [server]
[server]
port = 1
"public_url".x = 2
note = \"\"\"
port = 9
[admin]
\"\"\"
  'host'  = "a" # [tokens]

[ shops . "*" ]
client_id = '''one'''
tls = { certificate = "cert.pem" }
[shops."a.b"]
trusted_proxies = [
  "10.0.0.0/8",
]
"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("server",), 2),
        (("server", "port"), 3),
        (("server", "public_url"), 4),
        (("server", "public_url", "x"), 4),
        (("server", "note"), 5),
        (("server", "host"), 9),
        (("server", "missing"), 2),
        (("shops", "*", "client_id"), 12),
        (("shops", "*", "tls", "certificate"), 13),
        (("shops", "a.b", "trusted_proxies"), 15),
        (("shops", "other"), 11),
        (("admin", "port"), None),
        (("tokens",), None),
        ((), None),
    ],
)
def test_a_setting_is_found_in_its_line_and_what_is_missing_in_that_of_its_table(
    place: tuple[str, ...], line: int | None
) -> None:
    assert line_of(place, lines_of(TEXT)) == line


def test_each_problem_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'{DEMO}\n[server]\r\nport = "x"\nprot = 1\n[admin]\nport = 2.5\n[[tokens]]\n')

    with pytest.raises(ConfigError) as caught:
        load_config(path, {"SHOP_AUTH_PROXY_PORT": "1"})

    assert [problem[:22] for problem in caught.value.told] == [
        "line 6: server.port: m",
        "line 7: server.prot: u",
        "line 9: admin.port: mu",
        "line 10: tokens: must ",
        "SHOP_AUTH_PROXY_PORT: ",
    ]
    assert [problem.partition(": ")[2] for problem in caught.value.told[:4]] == list(caught.value.problems[:4])
