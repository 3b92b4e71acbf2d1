"""2,000 look-ups in made-up files, held against ``ssh -G``; bench_ssh_config.py does so with 100,000."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.transports.ssh.config.generated import NAMED, Lookup, difference, make, name_of

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs openssh-client, to compare with")

PAGE = Path(__file__).parents[3] / "docs/ssh-config.md"
AT_ONCE = 200


@pytest.mark.parametrize("first", range(0, 2000, AT_ONCE))
def test_made_up_files_are_read_as_ssh_reads_them(first: int, tmp_path: Path) -> None:
    found = [difference(make(seed), tmp_path) for seed in range(first, first + AT_ONCE)]
    unnamed = [each for each in found if each is not None and name_of(each) is None]
    assert not unnamed, "\n\n".join(map(str, unnamed))


def plain(text: str, **others: str) -> Lookup:
    return Lookup(text=text, included="", host="web1", **others)  # type: ignore[arg-type]  # texts alone


EXAMPLES: dict[str, Lookup] = {
    "What names may hold": plain("User a;b"),
    "A quote in a keyword": plain('Us"er one'),
    "Text after an amount": plain("RekeyLimit 1G#"),
    "What `ssh -G` leaves to the connection": plain("IdentityFile /%x"),
    "`IgnoreUnknown` in a block that does not apply": plain("Host db1\nIgnoreUnknown Foo\nHost web1\nFoo 1"),
    "Arguments of keywords that are passed over": plain("LogLevel loud"),
    "`Match exec` that is not reached": plain("Match host db1 exec %x"),
    "Variables of agents": plain("Host db1\nIdentityAgent ${NO_SUCH_VARIABLE}"),
    "How an address is written": plain("HostName 2001:DB8::A"),
    "A jump host that is the host": plain("ProxyJump web1"),
    "`-J none`": plain("ProxyCommand nc a b", jump="none"),
    "A blank before the port of a jump host": plain("ProxyJump gate: 2"),
    "A list that holds only a comment": plain("UserKnownHostsFile #none"),
    "A comment after `ProxyJump none`": plain("ProxyJump none # c\nProxyCommand nc a b"),
    "`%C` behind a jump host": plain("ProxyJump gate\nUserKnownHostsFile /%C"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_differs_is_on_the_page(name: str, tmp_path: Path) -> None:
    found = difference(EXAMPLES[name], tmp_path)
    assert found is not None
    assert name_of(found) == name
    assert f"| **{name}** |" in PAGE.read_text(encoding="utf-8")


def test_two_that_are_meant_may_come_together(tmp_path: Path) -> None:
    found = difference(plain("HostName FE80::A\nProxyCommand nc a b", jump="none"), tmp_path)
    assert found is not None
    assert found.values.keys() == {"hostname", "proxycommand"}
    assert name_of(found) == "`-J none`"


@pytest.mark.parametrize(
    "text",
    [
        "Match host = web1\n Port 5\n",
        "Match host= web1 user =root\n Port 5\n",
        'Match host = "db1,web1" !user = one\n Port 5\n',
        "Host db1\n HostName %x\n UserKnownHostsFile /%z\n IdentityFile /%\nHost web1\n Port 5\n",
        "Match user nobody\n HostName %n\n IdentityAgent /%x\nMatch all\n Port 5\n",
        "HostName real\nHostName %x\nPort 5\n",
        "HostKeyAlias Some.NAME\nUserKnownHostsFile /%k\nPort 5\n",
        'HostKeyAlias Alias\nMatch exec "test %k = Alias"\n Port 5\n',
        'HostName real\nMatch exec "test %k = real"\n Port 5\n',
        'Port +5\n= User one\n""\n',
        "RekeyLimit 1.5G\nPort 5\n",
        '"ProxyJump" =gate\nPort 5\n',
        "ForwardAgent yes%\n",
        "ForwardAgent no\nForwardAgent /%x\n",
        "ForwardAgent ~no-such-user/s\n",
        "ForwardAgent /%h\nPort 5\n",
        "Host db1\n ForwardAgent /%x\nHost web1\n Port 5\n",
        "ProxyJump ssh://a%4:1@b\n",
        "ProxyJump ssh://a%00@b\n",
        "ProxyJump ssh://a+b@gate\n",
        "ProxyJump ssh://a%41;%zz@b\n",
        "ProxyJump non:,a:\n",
        "ProxyJump [::1]:,a\n",
        "Include #x\nPort 5\n",
        "Include @/\\inne?\n",
        "Include @/inne\\?\nPort 5\n",
        "Include @/inner\\",
        "User one\nHost #0.* db1\n Port 5\n",
        "Host db1 #0.* web1\n Port 5\n",
    ],
)
def test_what_only_we_refused_or_read_otherwise(text: str, tmp_path: Path) -> None:
    assert difference(Lookup(text, included="User inner", host="web1"), tmp_path) is None


@pytest.mark.parametrize("keyword", ["IdentityFile", "CertificateFile", "GlobalKnownHostsFile"])
def test_a_user_that_does_not_exist_is_refused_before_the_connection(keyword: str, tmp_path: Path) -> None:
    found = difference(plain(f"{keyword} ~no-such-user/x"), tmp_path)
    assert found is not None
    assert name_of(found) == "What `ssh -G` leaves to the connection"
