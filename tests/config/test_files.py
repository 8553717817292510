"""What tells a file from what it is later."""

from pathlib import Path

import pytest

from proxy.config.files import Unusable, looks_like_secret, read_file, stamp


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


@pytest.mark.parametrize(
    "name",
    [
        "s3cr3tValueNot1nExampleX",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "4f2a60c1d7",
        "demo/s3cr3tValueNot1nExampleX",
        "s3cr3t/ValueNot1n+ExampleX==",
        "/s3cr3tValueNot1nExampleX",
        "Sommer2024",
        "kjhgfdsapoiuztrewqmnbvcxy",
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "client_secret=abc",
        "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
        "4f2a60c1d7" * 500,
    ],
)
def test_a_secret_where_the_name_of_a_file_belongs_is_not_shown(tmp_path: Path, name: str) -> None:
    (tmp_path / "demo").mkdir()

    with pytest.raises(Unusable) as caught:
        read_file(tmp_path / name, 10)

    where = tmp_path / "demo" if name.startswith("demo/") else Path("/") if name.startswith("/") else tmp_path
    assert str(caught.value) == (
        f"there is no such file in {where}; its name is not shown, since it looks like a secret: the name of a file"
        " belongs here, not what is in it"
    )


@pytest.mark.parametrize(
    "name",
    [
        "client_secret",
        "DemoShopClientSecret",
        "demo-2024.secret",
        "shop1/client-secret.txt",
        "SHOP2_CLIENT_SECRET",
        "/run/secrets/shop-auth-proxy/demo",
        "Kulcs 2.txt",
    ],
)
def test_what_a_person_calls_a_file_is_shown(name: str) -> None:
    assert not looks_like_secret(name)
