"""A flag, then MULTIRSH_*, then the user's config.toml, then the system's; nothing from where we stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from multirsh.cli.options import declare
from multirsh.errors import UsageError
from tests.program import Program

HOSTS = "hosts: [a, b]\n"


def folded(multirsh: Program, *args: str, env: dict[str, str] | None = None) -> str:
    """Which hosts file the program takes, by the host in it."""
    ended = multirsh("hosts", *args, env=env)
    assert ended.err == ""
    return ended.out.strip()


@pytest.fixture
def user(multirsh: Program) -> Program:
    """Somebody with a hosts file for each way to name one."""
    for name in ("flag", "env", "mine", "xdg"):
        multirsh.write(name, name)
    multirsh.write(".config/multirsh/config.toml", 'file = "~/mine"\n')
    return multirsh


def test_the_nearest_wins(user: Program) -> None:
    env = {"MULTIRSH_FILE": "env"}

    assert folded(user, "-f", "flag", env=env) == "flag"
    assert folded(user, env=env) == "env"
    assert folded(user) == "mine"


def test_xdg_config_home(user: Program) -> None:
    user.write("elsewhere/multirsh/config.toml", 'file = ["~/xdg"]\n')

    assert folded(user, env={"XDG_CONFIG_HOME": str(user.home / "elsewhere")}) == "xdg"
    # A relative one is in the current folder, and ignored (XDG Base Directory Specification).
    assert folded(user, env={"XDG_CONFIG_HOME": "elsewhere"}) == "mine"


def test_a_transport_is_text_in_the_settings_file(multirsh: Program) -> None:
    multirsh.write(".config/multirsh/config.toml", 'transport = "local"\n')

    ended = multirsh("-w", "a", "echo here")

    assert (ended.code, ended.out) == (0, "a: here\n")


def test_nothing_is_read_from_the_current_folder(multirsh: Program) -> None:
    multirsh.write("config.toml", "nonsense")
    multirsh.write("multirsh/config.toml", "nonsense")
    multirsh.write("multirsh.toml", "nonsense")

    assert folded(multirsh, "-w", "a") == "a"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fanot = 3", "no option is called 'fanot'; did you mean 'fanout'?"),
        ("fanout == 3", None),  # worded by tomllib
        ('fanout = "3"', "fanout takes a number, without quotes, not '3'"),
        ("fanout = 0", "fanout: 0 is not a whole number of 1 or more"),
        ("fanout = 2.5", "fanout: 2.5 is not a whole number of 1 or more"),
        ("fanout = true", "fanout takes a number, without quotes, not True"),
        ("connect-timeout = nan", "connect-timeout: nan is not a number of seconds above 0"),
        ("quiet = 'yes'", "quiet is a switch: 'yes' is neither true nor false"),
        ("color = 'puce'", None),  # worded by click
        ("user = 3", "user takes text, in quotes, not 3"),
        ("user = ['a']", "user takes text, in quotes, not ['a']"),
        ("file = 3", "file takes text, in quotes, not 3"),
    ],
)
def test_what_is_wrong_in_it_is_told_with_the_file(multirsh: Program, text: str, told: str | None) -> None:
    file = multirsh.write(".config/multirsh/config.toml", text + "\n")

    ended = multirsh("hosts", "-w", "a")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"multirsh: {file}: ")
    assert ended.err.count("\n") == 1
    if told is not None:
        assert ended.err == f"multirsh: {file}: {told}\n"


def test_what_cannot_be_a_default_is_not_known(multirsh: Program) -> None:
    """A selection, or an agent lent to every host, is said each time."""
    for key in ("nodes", "group", "all", "pick", "forward-agent", "help", "version", "expand", "hosts"):
        multirsh.write(".config/multirsh/config.toml", f"{key} = true\n")
        assert f"no option is called {key!r}" in multirsh("hosts", "-w", "a").err


def test_a_wrong_variable_is_told_by_its_name(multirsh: Program) -> None:
    ended = multirsh("-w", "a", "true", env={"MULTIRSH_FANOUT": "x"})

    assert (ended.code, ended.err) == (
        2,
        "multirsh: MULTIRSH_FANOUT: 'x' is not a whole number of 1 or more\n",
    )


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The user's file and the system's, in folders of the test."""
    mine = tmp_path / "multirsh" / "config.toml"
    mine.parent.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    system = tmp_path / "system.toml"
    monkeypatch.setattr(declare, "SYSTEM_FILE", system)
    return mine, system


def test_the_users_file_goes_before_the_systems(both: tuple[Path, Path]) -> None:
    mine, system = both
    mine.write_text("fanout = 8\n")
    system.write_text("fanout = 16\nquiet = true\nclose-timeout = 1.5\n")

    assert declare.read_defaults(["run"]) == {
        "run": {"limits_fanout": 8, "quiet": True, "timeouts_close": 1.5}
    }


def test_the_systems_file_is_checked_too(both: tuple[Path, Path]) -> None:
    both[1].write_text("fanot = 16\n")

    with pytest.raises(UsageError, match=r"system\.toml: no option is called 'fanot'"):
        declare.read_defaults(["run"])


def test_no_files_no_defaults(both: tuple[Path, Path]) -> None:
    assert declare.read_defaults(["run"]) == {}


def test_no_home_no_file_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` stays as it is where nobody knows the home, and would be a folder in the current one."""
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")

    assert declare.files() == (declare.SYSTEM_FILE,)
