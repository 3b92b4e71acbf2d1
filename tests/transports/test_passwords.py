"""Passwords come from where they should, and show themselves nowhere."""

from __future__ import annotations

import os
import pickle
import traceback
from pathlib import Path

import pytest

from multirsh.errors import CredentialError
from multirsh.transports.passwords import Password, ask_password, read_password_file, run_password_command

SECRET = "s3cret wörd"


def test_a_password_does_not_show_itself() -> None:
    password = Password(SECRET)
    assert password.reveal() == SECRET
    for shown in (repr(password), str(password), f"{password}", f"{[password]}", "%s" % password):  # noqa: UP031 - it is a way to show
        assert shown in {"Password(***)", "[Password(***)]"}
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(password)
    assert not hasattr(password, "__dict__")


def test_asked() -> None:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return SECRET

    assert ask_password(ask).reveal() == SECRET
    assert prompts == ["Password: "]
    with pytest.raises(CredentialError, match="no terminal"):
        ask_password(None)


@pytest.mark.parametrize("text", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n", f"{SECRET}\nmore\n"])
def test_the_first_line_of_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(text.encode())
    path.chmod(0o600)
    assert read_password_file(str(path)).reveal() == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text(SECRET)
    path.chmod(mode)
    with pytest.raises(CredentialError, match=rf"mode {mode:04o}\); chmod 600 "):
        read_password_file(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\nsecond\n", "is empty"),
        (b"a\0b\n", "is no password"),
        (b"\xff\xfe\n", "is not UTF-8"),
        (b"x" * 70_000, "is no password"),
    ],
)
def test_what_is_no_password_is_told_without_it(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CredentialError, match=message) as caught:
        read_password_file(str(path))
    told = "".join(traceback.format_exception(caught.value))
    assert "xfe" not in told
    assert "xxxxx" not in told


def test_a_missing_file() -> None:
    with pytest.raises(CredentialError, match="cannot be read from /no/such/file: No such file"):
        read_password_file("/no/such/file")


def test_a_pipe() -> None:
    reading, writing = os.pipe()
    os.write(writing, SECRET.encode() + b"\nrest")
    assert read_password_file(f"/dev/fd/{reading}").reveal() == SECRET
    os.close(writing)
    os.close(reading)


def test_standard_input_keeps_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, SECRET.encode() + b"\nrest")
    os.close(writing)
    saved = os.dup(0)
    try:
        os.dup2(reading, 0)
        assert read_password_file("-").reveal() == SECRET
        assert os.read(0, 100) == b"rest"
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)


def test_a_command() -> None:
    assert run_password_command(f"echo '{SECRET}'; echo more").reveal() == SECRET
    assert run_password_command("cat; printf x | tr x y").reveal() == "y"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo hidden; exit 3", "failed with exit status 3"),
        ("echo hidden; kill -TERM $$", "was ended by signal 15"),
        ("true", "is empty"),
        ("yes hidden", "prints too much"),
        ("/no/such/program", "exit status 127"),
    ],
)
def test_a_command_that_fails_tells_nothing_of_its_output(command: str, message: str) -> None:
    with pytest.raises(CredentialError, match=message) as caught:
        run_password_command(command)
    assert "hidden" not in str(caught.value)
