"""A script is known by the digest that Redis gives it."""

from pathlib import Path

from proxy.shared.scripts import Script, script


def test_the_digest_is_the_one_of_script_load() -> None:
    # Redis's documentation: the digest of "return 1".
    assert Script("one", "return 1").digest == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"


def test_a_script_is_called_like_its_file_and_does_not_show_its_text(tmp_path: Path) -> None:
    file = tmp_path / "book.lua"
    file.write_text("return {0}", encoding="utf-8")

    assert (script(file).name, script(file).text) == ("book", "return {0}")
    assert repr(script(file)) == "Script(name='book')"
