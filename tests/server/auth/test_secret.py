"""Reading secrets: from a variable or a file, never from both, and no message shows one."""

from pathlib import Path

import pytest

from server.exceptions import SettingsError
from server.secret import MAX_FILE_BYTES, read_secret, read_secret_file

NAME = "SWITCHBOARD_TEST_SECRET"
SECRET = "sesame-0123456789"


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    monkeypatch.delenv(f"{NAME}_FILE", raising=False)


def problem() -> str:
    with pytest.raises(SettingsError) as caught:
        read_secret(NAME, what="the secret of this test")
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_there_need_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_secret(NAME, what="") is None
    monkeypatch.setenv(NAME, "")
    monkeypatch.setenv(f"{NAME}_FILE", "")
    assert read_secret(NAME, what="") is None


def test_the_variable_has_it_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, SECRET)
    assert [read_secret(NAME, what="") for _ in range(2)] == [SECRET, SECRET]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_has_it_without_the_line_break_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f" {SECRET} {end}".encode())
    monkeypatch.setenv(f"{NAME}_FILE", str(path))
    assert read_secret(NAME, what="") == f" {SECRET} "


def test_two_are_one_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, SECRET)
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path))
    assert (
        problem()
        == f"the secret of this test: {NAME} and {NAME}_FILE are both set: keep one of them"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (SECRET.encode() + b"\xff", "the file is no UTF-8 text"),
        (SECRET.encode() * (MAX_FILE_BYTES // len(SECRET) + 1), "the file is over 1,048,576 bytes"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_no_good_is_named_but_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(f"{NAME}_FILE", str(path))
    assert problem() == f"the secret of this test: {NAME}_FILE {path}: {expected}"


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^here: Is a directory$"):
        read_secret_file(tmp_path, "here")
    with pytest.raises(SettingsError, match=r"^here: no such file$"):
        read_secret_file(Path("a\0b"), "here")
