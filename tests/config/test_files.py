"""What tells a file from what it is later."""

from pathlib import Path

import pytest

from proxy.config.files import Unusable, read_file, stamp


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


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("demo.secert", "the file DIR/demo.secert does not exist: did you mean DIR/demo.secret?"),
        ("Demo.secret", "the file DIR/Demo.secret does not exist: did you mean DIR/demo.secret?"),
        ("quite-else", "the file DIR/quite-else does not exist"),
        (
            "new\nline",
            r"the file 'DIR/new\nline' does not exist: in double quotes a backslash begins an escape sequence,"
            " write / or single quotes",
        ),
        ("no/demo.secret", "the file DIR/no/demo.secret does not exist: there is no directory DIR/no"),
        (
            "~/demo.secret",
            "the file DIR/~/demo.secret does not exist: ~ is not replaced by the home directory here, write the"
            " full path",
        ),
        ("$HOME/demo", "the file DIR/$HOME/demo does not exist: variables in a file's name are not replaced"),
        ("file:///demo.secret", "the file DIR/file:/demo.secret does not exist: write a path, not a URL"),
        ("lost", "the file DIR/lost does not exist: it is a link to nowhere, and nothing is there"),
        ("circle", "the file DIR/circle can't be read: Too many levels of symbolic links"),
        ("demo.secret ", "the file DIR/demo.secret  does not exist: its name begins or ends with a space"),
    ],
)
def test_a_file_that_is_missing_is_told_with_what_may_be_wrong_with_its_name(
    tmp_path: Path, name: str, sentence: str
) -> None:
    (tmp_path / "demo.secret").touch()
    (tmp_path / "lost").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")

    with pytest.raises(Unusable) as caught:
        read_file(tmp_path / name, 10)

    assert str(caught.value).replace(str(tmp_path), "DIR") == sentence
