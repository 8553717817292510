"""What tells a file from what it is later."""

from pathlib import Path

from proxy.config.files import stamp


def test_a_file_that_is_replaced_changed_or_gone_has_another_stamp(tmp_path: Path) -> None:
    file = tmp_path / "a"
    stamps = [stamp(file)]
    file.write_text("1")
    stamps.append(stamp(file))
    file.write_text("22")
    stamps.append(stamp(file))
    (tmp_path / "b").write_text("33")
    (tmp_path / "b").rename(file)
    stamps.append(stamp(file))

    assert stamps[0] is None
    assert len(set(stamps)) == 4
    assert stamp(file) == stamps[-1]
    assert stamp(Path("a\0b")) is None
