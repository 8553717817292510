"""Where the proxy listens, for whom and for how many: what is told when that does not fit together."""

from pathlib import Path

import pytest

from tests.config.written import DEMO, EXPOSED, load, problems


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nport = 9090",
        "[admin]\nport = 8080",
        '[server]\nhost = "0.0.0.0"\nallow_anonymous = true\nport = 9090',
        '[admin]\nhost = "::"\nport = 8080',
    ],
)
def test_the_admin_port_is_not_the_servers(path: Path, text: str) -> None:
    assert problems(path, f"{text}\n{DEMO}") == (
        "admin.port: is server.port too: choose another one, or 0 for any free port",
    )


@pytest.mark.parametrize(
    "text",
    [
        "[admin]\nport = 0\n[server]\nport = 0",
        "[admin]\nenabled = false\nport = 8080",
        '[admin]\nhost = "127.0.0.2"\nport = 8080',
    ],
)
def test_ports_that_are_not_in_each_others_way_are_no_problem(path: Path, text: str) -> None:
    assert load(path, f"{text}\n{DEMO}").shops.named


def test_ports_are_not_compared_where_one_has_a_problem_of_its_own(path: Path) -> None:
    [found] = problems(path, f'[admin]\nport = 8080\nhost = "a b"\n{DEMO}')

    assert found.startswith("admin.host: ")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost", "LocalHost"])
def test_on_loopback_anybody_may_call(path: Path, host: str) -> None:
    assert load(path, f'{DEMO}[server]\nhost = "{host}"').server.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1", "proxy.example.com", "localhost.example.com"])
def test_elsewhere_anybody_may_call_only_if_that_is_written_down(path: Path, host: str) -> None:
    text = f'{DEMO}[server]\nhost = "{host}"\n'

    assert problems(path, text) == (EXPOSED if host else EXPOSED.replace("not a loopback address", "every address"),)
    assert problems(path, f"{text}allow_anonymous = false") == (
        EXPOSED if host else EXPOSED.replace("not a loopback address", "every address"),
    )
    assert load(path, f"{text}allow_anonymous = true").server.host == host
