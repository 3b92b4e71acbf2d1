"""What the names of hosts and users may hold: the one check, and that no way leads around it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multirsh.commands.sudo.options import Sudo
from multirsh.errors import UsageError
from multirsh.model import Host, Settings
from multirsh.names import MAX_FILE_NAME, file_name, name_fault, user_fault, word_fault

HOSTS = ["web1", "web1.example.com", "10.0.0.1", "fe80::1%eth0", "2001:db8::1", "_dns", "a_b", "büro", "x=y"]
USERS = [
    "root",
    "CORP\\jane",
    "jane@corp",
    "WEB01$",
    "host/admin",
    "svc-a.b_c",
    "two words",
    "+x",
    "a*",
    "~x",
]
WORDS = ["root", "CORP\\jane", "jane@corp", "host/admin", "a~b"]

NOT_HOSTS = ["", "-oProxyCommand=x", "a b", "a\tb", "a\nb", "a\x7f", "a\u202eb", "a\0b"]
NOT_HOSTS += [f"a{character}b" for character in "'`\"$\\;&<>|(){}[]*?!,@#~"]
NOT_USERS = ["", "-l", "a -oProxyCommand=x", "a\\", "a\nb", "a\x1bb", "a\u202eb", "a\0b"]
NOT_USERS += [f"a{character}b" for character in "'`\";&<>|(){}"]
NOT_WORDS = [*NOT_USERS, "a$HOME", "$(x)", "WEB01$", "a*", "a?b", "a[b]", "~root", "#a", "a#b", "a!b", "!a"]
NOT_WORDS += ["two words", " a", "a "]  # sudo -u %r nc would run the second


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_may_be_called_so(name: str) -> None:
    assert Host(name, address=name).target == name


@pytest.mark.parametrize("name", NOT_HOSTS)
def test_no_host_is_called_so(name: str) -> None:
    with pytest.raises(UsageError, match="the name of a host cannot be"):
        Host(name)
    with pytest.raises(UsageError, match="the address of a cannot be"):
        Host("a", address=name)


@pytest.mark.parametrize("name", [".", "..", ".a", "a/b", "/"])
def test_a_name_is_no_path_and_an_address_may_be_one(name: str) -> None:
    with pytest.raises(UsageError, match="the name of a host cannot be"):
        Host(name)
    assert Host("a", address=name).target == name


@pytest.mark.parametrize("name", USERS)
def test_a_user_may_be_called_so(name: str) -> None:
    assert Settings(user=name).user == name
    assert Sudo(name).user == name


@pytest.mark.parametrize("name", NOT_USERS)
def test_no_user_is_called_so(name: str) -> None:
    with pytest.raises(UsageError, match="the user cannot be") as caught:
        Settings(user=name)
    assert caught.value.hint == "give the name that logs in"
    assert str(caught.value).isprintable()
    with pytest.raises(UsageError, match="the user of --sudo cannot be"):
        Sudo(name)


@pytest.mark.parametrize("name", WORDS)
def test_a_shell_command_may_hold_such_a_name(name: str) -> None:
    assert word_fault(name) is None


@pytest.mark.parametrize("name", NOT_WORDS)
def test_no_shell_command_holds_such_a_name(name: str) -> None:
    assert word_fault(name) is not None


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_no_port_is_that(port: int) -> None:
    with pytest.raises(UsageError, match="is not a port; ports are 1 to 65535"):
        Settings(port=port)


@pytest.mark.parametrize(
    "jump", ["gate", "ann@gate:2222,CORP\\jane@[::1]:22", "ssh://ann@gate:99/", "none", "WEB$@a"]
)
def test_a_jump_host_may_be_written_so(jump: str) -> None:
    assert Settings(jump=jump).jump == jump


@pytest.mark.parametrize(
    "jump", ["$(x)@gate", "a,`x`@gate", "gate;x", "-oX=y", "ssh://a|b@gate", "a\\@b", "x y"]
)
def test_no_jump_host_is_written_so(jump: str) -> None:
    with pytest.raises(UsageError, match="jump host cannot be"):
        Settings(jump=jump)


def test_a_long_name_is_not_shown_in_full() -> None:
    with pytest.raises(UsageError) as caught:
        Settings(user="(" * 5000)
    assert len(str(caught.value)) < 200


ANY = st.one_of(
    st.text(max_size=12), st.text(alphabet="ab$`'\"\\;&<>|(){}[]*?!,@#~/-=%^ \n\t\u00a0.", max_size=8)
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(alphabet="ab~#^=%,.:@/\\- !+$*?[\"'", max_size=8).filter(lambda name: not word_fault(name))
)
def test_a_shell_reads_nothing_into_a_name(name: str, tmp_path: Path) -> None:
    """It is one word. A backslash in it needs quotes in the command, as in ssh."""
    (tmp_path / "a").touch()  # something that a glob would find
    ended = subprocess.run(
        ["/bin/sh", "-c", f"printf '<%s>' {name} end"], capture_output=True, check=True, cwd=tmp_path
    )
    assert ended.stdout.decode() == f"<{shlex.split(name)[0]}><end>"
    assert ended.stderr == b""
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@given(name=ANY)
def test_a_host_is_one_word_and_one_file_name(name: str) -> None:
    if name_fault(name) is None:
        assert word_fault(name) is None
        assert user_fault(name) is None
        assert shlex.split(name) == [name]
        assert Path("/top", name).resolve().parent == Path("/top")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web1.example.com", "web1.example.com"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%25eth0"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("a/b", "a%2Fb"),
        ("täst", "t%C3%A4st"),
    ],
)
def test_what_is_plain_stays(host: str, name: str) -> None:
    assert file_name(host) == name


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_no_two_are_the_same_and_none_leads_elsewhere(one: str, other: str) -> None:
    try:
        names = [file_name(one), file_name(other)]
    except UnicodeEncodeError:  # of surrogates that stand for no byte; no host's name has them
        return
    assert (one == other) == (names[0] == names[1])
    for name in names:
        assert name not in {"", ".", ".."}
        assert "/" not in name
        assert len(name.encode()) <= MAX_FILE_NAME


@given(
    st.text(st.sampled_from("/.%2Fa"), min_size=1, max_size=5), st.text(st.sampled_from("/.%2Fa"), min_size=1)
)
def test_nor_are_two_odd_ones(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)
