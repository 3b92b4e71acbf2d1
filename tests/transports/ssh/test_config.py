"""ssh_config is read as ssh reads it: ``ssh -G`` is the judge."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multirsh.errors import UsageError
from multirsh.model import HostKeyPolicy
from multirsh.transports.ssh.config import (
    AddressFamily,
    Hop,
    IdentitySource,
    Local,
    SshConfig,
    SshTarget,
    read_config,
)
from tests.transports.ssh.config.judge import differences, judged

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs openssh-client, to compare with")

Configure = Callable[..., SshConfig]


@pytest.fixture
def home(tmp_path: Path) -> Local:
    """Somebody with an empty home."""
    (tmp_path / "home/.ssh").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    return Local(
        user="ann",
        uid=1000,
        home=str(tmp_path / "home"),
        hostname="desk.example.net",
        environ={"PLACE": "here"},
    )


@pytest.fixture
def configure(home: Local, tmp_path: Path) -> Configure:
    """Make a configuration from the text of ``~/.ssh/config``."""

    def make(text: str, **keywords: object) -> SshConfig:
        path = Path(home.home) / ".ssh/config"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return read_config(local=home, system_directory=str(tmp_path / "etc"), **keywords)  # type: ignore[arg-type]  # test's own words

    return make


def same(host: str, ours: SshTarget, theirs: dict[str, list[str]]) -> None:
    """Assert that each field which ``ssh -G`` prints has our value."""
    assert differences(host, ours, theirs) == {}


TABLE: dict[str, str] = {
    "empty": "",
    "defaults of everyone": "User www\nPort 2222\n",
    "first value wins": "Host web*\n User one\n Port 1\nHost *\n User two\n Port 2\n Compression yes\n",
    "negation": "Host * !web1\n User notweb\nHost web* !web1\n Port 77\n",
    "question mark": "Host web?\n User one\nHost web??\n User two\n",
    "case of host": "Host WEB1\n User upper\nHost web1\n User lower\n",
    "equals": "User=one\nPort = 22\nHostKeyAlias  =  x\n",
    "tabs": "\tUser\tone\n\t Port\t\t3\n",
    "quotes": 'User "one two"\nIdentityFile "/a b/c"\nSetEnv A="x y" B=2 \'C=3 4\'\n',
    "backslashes": "SetEnv A=x\\ y B=\\\\ C=\\n\n",
    "comments": "# first\n  # second\nUser one # third\nPort 3#4\n"
    if False
    else "# a\n  # b\nUser one # c\n",
    "carriage returns": "User one\r\nPort 4\r\n",
    "hostname": "Host web1\n HostName %h.Example.COM\nMatch host web1.example.com\n User matched\n",
    "hostname of an address": "HostName 127.1\n",
    "ipv6": "HostName ::0:1\n",
    "match user": "Host web1\n User one\nMatch user one\n Port 5\nMatch user two\n Port 6\n",
    "match localuser": "Match localuser root,other\n Port 5\nMatch !localuser root\n Compression yes\n",
    "match originalhost": "HostName y\nMatch originalhost web*,!web1\n Port 5\nMatch host y\n User o\n",
    "match all": "Match all\n User everyone\n",
    "match nothing": "Match !all\n User nobody\n",
    "match several": 'Match host "web1,web2" user root\n Port 9\nMatch host web9 user root\n Port 10\n',
    "match exec": "Match exec true\n Port 9\nMatch exec false\n User x\n",
    "match exec tokens": 'Match exec "test %h = web1 -a %n = web1 -a %p = 22 -a %r = root"\n Port 9\n',
    "match final": "Host web1\n HostName real.net\nMatch final host real*\n User f\nHost real*\n Port 8\n",
    "match canonical": "Match canonical\n User canonical\n",
    "canonicalize without domains": "CanonicalizeHostname yes\nMatch canonical\n User canonical\n",
    "identities": "IdentityFile ~/.ssh/a\nIdentityFile /b\nIdentityFile ~/.ssh/a\nCertificateFile /c\n",
    "no identities": "IdentityFile none\n",
    "identities of two blocks": "Host web1\n IdentityFile /a\nHost *\n IdentityFile /b\n",
    "send env": "SendEnv LANG LC_*\nSendEnv X Y\nSendEnv -LC_*\n",
    "send env twice": "Host web*\n SendEnv A\nMatch final\n SendEnv B\n",
    "set env": "SetEnv A=1 B=2\nSetEnv C=3\n",
    "times": "ConnectTimeout 1m30s\nServerAliveInterval 2h\nServerAliveCountMax 7\n",
    "no time": "ConnectTimeout none\nConnectTimeout 5\n",
    "rekey": "RekeyLimit 1G 1h\n",
    "rekey in two parts": "RekeyLimit default\nRekeyLimit 2M 10\n",
    "rekey none": "RekeyLimit 5K none\n",
    "known hosts": "UserKnownHostsFile ~/a /b\nGlobalKnownHostsFile /c\n",
    "known hosts tokens": "UserKnownHostsFile /k/%h/%n/%p/%r/%u/%d/%i/%L/%l/%%/%k\n",
    "known hosts hash": "UserKnownHostsFile /k/%C\nPort 44\nUser x\n",
    "no known hosts": "UserKnownHostsFile none\nGlobalKnownHostsFile none\n",
    "known hosts environment": "UserKnownHostsFile ${HOME}/x\n",
    "strict": "StrictHostKeyChecking yes\n",
    "accept-new": "StrictHostKeyChecking accept-new\nHashKnownHosts yes\n",
    "off": "StrictHostKeyChecking off\n",
    "alias": "HostKeyAlias Some.Name\n",
    "jump": "ProxyJump ann@gate:2222,second\n",
    "jump to an address": "ProxyJump [::1]:22\n",
    "jump uri": "ProxyJump ssh://ann@gate:99\n",
    "no jump": "ProxyJump none\nProxyCommand nc x y\n",
    "jump before command": "ProxyJump gate\nProxyCommand nc x y\n",
    "command before jump": "ProxyCommand nc 'x y' # not a comment\nProxyJump gate\n",
    "command none before jump": "ProxyCommand none\nProxyJump gate\n",
    "families": "AddressFamily inet6\nBindAddress 127.0.0.1\n",
    "methods": "PreferredAuthentications publickey,password\nPubkeyAuthentication host-bound\n",
    "booleans": "PasswordAuthentication no\nSkeyAuthentication no\nIdentitiesOnly yes\nTCPKeepAlive no\n",
    "forward agent": "ForwardAgent yes\n",
    "unknown ignored": "IgnoreUnknown Foo*,bar\nFooBar x y z\nbar 1\nUser u\n",
    "passed over": "LocalForward 1 localhost:2\nLogLevel DEBUG\nControlMaster auto\nUser u\n",
    "deprecated": "Protocol 2\nUser u\n",
    "unknown": "Nonsense yes\n",
    "extra": "Port 22 23\n",
    "bad port": "Port 0\n",
    "bad port name": "Port nosuchservice\n",
    "port name": "Port ssh\n",
    "bad flag": "Compression maybe\n",
    "no argument": "User\n",
    "open quote": 'User "one\n',
    "bad time": "ConnectTimeout 5x\n",
    "bad match": "Match host\n",
    "bad criterion": "Match nonsense x\n",
    "match all combined": "Match user root all\n",
    "bad token": "HostName %x\n",
    "bad jump": "ProxyJump @gate\n",
    "bad env": "SendEnv A=b\n",
    "unset variable": "UserKnownHostsFile ${NO_SUCH_VARIABLE_AT_ALL}\n",
    "include nothing": "Include /no/such/file*\nUser u\n",
}


@needs_ssh
@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("host", ["web1", "WEB1", "db.example.com"])
def test_as_ssh_reads_it(name: str, host: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(TABLE[name])
    theirs = judged(path, host)
    try:
        ours = read_config(file=str(path)).target(host)
    except UsageError:
        assert theirs is None
    else:
        assert theirs is not None
        same(host, ours, theirs)


@needs_ssh
@pytest.mark.parametrize(
    "options",
    [
        ["User=option"],
        ["Port 77", "port=78"],
        ["IdentityFile=/first"],
        ["IdentityFile=none"],
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"],
        ["ProxyJump=gate"],
        ["ProxyCommand=none"],
        ["SendEnv=A B", "SetEnv=C=1"],
        ["IgnoreUnknown=zzz", "zzz=1"],
        ["Nonsense=1"],
        ["Host=web"],
        ["Match=all"],
        ["Include=/etc/passwd"],
        ["ConnectTimeout=3"],
        ["Compression"],
    ],
)
def test_options_come_first_as_in_ssh(options: list[str], tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("User file\nPort 2\nIdentityFile /second\nProxyJump other\nSendEnv Z\nConnectTimeout 9\n")
    theirs = judged(path, "web1", options)
    try:
        ours = read_config(file=str(path), options=options).target("web1")
    except UsageError:
        assert theirs is None
    else:
        assert theirs is not None
        same("web1", ours, theirs)


@needs_ssh
def test_includes_as_ssh_reads_them(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name, text in {
        "d/10": "User ten\nHost db*\n Port 10\n",
        "d/20": "User twenty\nCompression yes\n",
        "inner": "Match user ten\n ConnectTimeout 4\nHost *\n BindAddress 127.0.0.1\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    path = tmp_path / "config"
    path.write_text(
        f"Host web*\n Include {tmp_path}/d/*\n Include {tmp_path}/inner\n Port 3\n"
        f"Host db*\n Port 5\nInclude {tmp_path}/d/10 {tmp_path}/d/20\n"
    )
    for host in ("web1", "db1", "other"):
        theirs = judged(path, host)
        assert theirs is not None
        same(host, read_config(file=str(path)).target(host), theirs)


names = st.sampled_from(["web1", "web2", "db1", "Web1", "a.example.com", "10.0.0.1", "x"])
patterns = st.sampled_from(
    ["web1", "web*", "!web2", "*", "?b1", "!*.com", "*.example.com", "db1", "x", "*1*"]
)
lines = st.one_of(
    st.builds("User {}".format, st.sampled_from(["one", "two", '"a b"', "%r"])),
    st.builds("Port {}".format, st.sampled_from(["22", "2222", "1", "65535", "ssh", "70000"])),
    st.builds(
        "HostName {}".format, st.sampled_from(["%h.example.com", "%h", "db1", "Xy.net", "10.1", "::1"])
    ),
    st.builds("IdentityFile {}".format, st.sampled_from(["~/.ssh/k", "/k", "none", "'/a b'"])),
    st.builds("ProxyJump {}".format, st.sampled_from(["none", "gate", "u@gate:3", "a,b", "a,,b"])),
    st.builds("ProxyCommand {}".format, st.sampled_from(["none", "nc a b", "none x"])),
    st.builds("SendEnv {}".format, st.sampled_from(["A", "B*", "-A", "-*", "A B"])),
    st.builds("SetEnv {}".format, st.sampled_from(["A=1", "B=2 C=3", "A"])),
    st.builds("ConnectTimeout {}".format, st.sampled_from(["1", "1m", "none", "1m1", "m"])),
    st.builds("RekeyLimit {}".format, st.sampled_from(["1G", "default 5", "15", "16 none", "1K 1h"])),
    st.builds("UserKnownHostsFile {}".format, st.sampled_from(["/a /b", "none", "/%h", "~/x/%n"])),
    st.builds("HostKeyAlias {}".format, st.sampled_from(["Alias", "b"])),
    st.builds(
        "{} {}".format,
        st.sampled_from(["Compression", "BatchMode", "IdentitiesOnly"]),
        st.sampled_from(["yes", "no", "True", "maybe"]),
    ).filter(lambda line: line not in {"BatchMode yes", "BatchMode True"}),
    st.builds("StrictHostKeyChecking {}".format, st.sampled_from(["yes", "no", "ask", "accept-new", "OFF"])),
    st.builds("Host {}".format, st.lists(patterns, min_size=1, max_size=3).map(" ".join)),
    st.builds(
        "Match {} {}".format,
        st.sampled_from(["host", "originalhost", "!host", "user", "!user"]),
        st.lists(patterns, min_size=1, max_size=3).map(",".join),
    ),
    st.sampled_from(
        [
            "Match all",
            "Match final",
            "Match canonical",
            "Match final user one",
            "Match user one host web*",
            "",
        ]
    ),
    st.builds("{}={}".format, st.sampled_from(["user", "port"]), st.sampled_from(["5", "five", ""])),
)


@needs_ssh
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(lines, max_size=9).map("\n".join), host=names)
def test_generated_files_as_ssh_reads_them(text: str, host: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    theirs = judged(path, host)
    try:
        ours = read_config(file=str(path)).target(host)
    except UsageError:
        assert theirs is None
    else:
        assert theirs is not None
        same(host, ours, theirs)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(), st.lists(st.one_of(lines, st.text(max_size=12))).map("\n".join)))
def test_any_text_gives_settings_or_an_error_with_its_place(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    try:
        config = read_config(file=str(path), run=lambda _: True, options=["IgnoreUnknown=zz"])
        config.target("web1")
    except UsageError as error:
        placed = f"{path}:" in str(error) or "CanonicalDomains" in str(error)
        assert placed, error  # noqa: PT017 - most texts raise nothing


# ---------------------------------------------------------------- what ssh -G does not show


def test_hosts_for_which_the_same_lines_apply_share_their_settings(configure: Configure) -> None:
    config = configure("Host web*\n User www\n Port 2222\n")
    first, second = config.target("web1"), config.target("web2")
    assert first.settings is second.settings
    assert (first.hostname, second.hostname) == ("web1", "web2")
    assert config.target("db1").settings is not first.settings


def test_settings_that_name_the_host_differ(configure: Configure) -> None:
    config = configure("UserKnownHostsFile ~/hosts/%h\n")
    first, second = config.target("web1"), config.target("web2")
    assert first.settings != second.settings
    assert config.target("web1").settings is first.settings


def test_defaults(configure: Configure, home: Local) -> None:
    got = configure("").target("web1").settings
    assert (got.user, got.port) == ("ann", 22)
    assert [identity.path for identity in got.identity_files][:2] == [
        f"{home.home}/.ssh/id_rsa",
        f"{home.home}/.ssh/id_ecdsa",
    ]
    assert {identity.source for identity in got.identity_files} == {IdentitySource.DEFAULT}
    assert got.user_known_hosts_files == (f"{home.home}/.ssh/known_hosts", f"{home.home}/.ssh/known_hosts2")
    assert got.global_known_hosts_files == ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
    assert got.strict_host_key_checking is HostKeyPolicy.STRICT
    assert got.address_family is AddressFamily.ANY
    assert got.identity_agent is None
    assert not got.forward_agent_asked


def test_what_the_user_said_here_comes_before_everything(configure: Configure) -> None:
    config = configure(
        "User file\nPort 1\nIdentityFile /file\nProxyJump filegate\nMatch user me\n Compression yes\n",
        options=["User=option"],
    )
    got = config.target(
        "web1", user="me", port=3, identities=("~/mine", "/100%"), jump=(Hop(None, "gate", None),)
    ).settings
    assert (got.user, got.port, got.compression) == ("me", 3, True)
    assert got.proxy_jump == (Hop(None, "gate", None),)
    assert [(identity.path, identity.source) for identity in got.identity_files] == [
        (f"{config.local.home}/mine", IdentitySource.OPTION),
        ("/100%", IdentitySource.OPTION),
        ("/file", IdentitySource.CONFIG),
    ]
    assert config.target("web1", jump=()).settings.proxy_jump == ()
    assert config.target("web1").settings.user == "option"


def test_the_system_file_comes_after_the_users(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "etc/ssh_config.d").mkdir()
    (tmp_path / "etc/ssh_config.d/one.conf").write_text("Port 9\n")
    (tmp_path / "etc/ssh_config").write_text("Include ssh_config.d/*.conf\nUser system\nCompression yes\n")
    got = configure("User mine\nInclude extra\n").target("web1").settings
    assert (got.user, got.port, got.compression) == ("mine", 9, True)


def test_relative_includes_are_in_the_users_ssh_folder(configure: Configure, home: Local) -> None:
    (Path(home.home) / ".ssh/extra").write_text("User extra\n")
    assert configure("Include extra\n").target("x").settings.user == "extra"
    assert configure("Include ~/.ssh/ext*\n").target("x").settings.user == "extra"


def test_a_system_file_may_not_include_from_a_home(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "etc/ssh_config").write_text("Include ~/x\n")
    with pytest.raises(UsageError, match=r"ssh_config:1: a system's file cannot include"):
        configure("")


def test_includes_in_a_circle_end(configure: Configure, home: Local) -> None:
    with pytest.raises(UsageError, match=r"config:1: includes go more than 16 deep"):
        configure("Include config\n")


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_refused(home: Local, tmp_path: Path, mode: int) -> None:
    path = Path(home.home) / ".ssh/config"
    path.write_text("User u\n")
    path.chmod(mode)
    with pytest.raises(UsageError, match="bad owner or permissions"):
        read_config(local=home, system_directory=str(tmp_path / "etc"))
    # A file that was named may be anybody's, as in ssh.
    assert read_config(local=home, file=str(path)).target("x").settings.user == "u"


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a file away")
def test_a_file_of_somebody_else_is_refused(home: Local, tmp_path: Path) -> None:
    path = Path(home.home) / ".ssh/config"
    path.write_text("User u\n")
    path.chmod(0o600)
    os.chown(path, 12345, 12345)
    with pytest.raises(UsageError, match="bad owner or permissions"):
        read_config(local=home, system_directory=str(tmp_path / "etc"))


def test_a_file_that_was_named_must_be_there() -> None:
    with pytest.raises(UsageError, match="-F /no/such/file: No such file"):
        read_config(file="/no/such/file")


def test_none_reads_nothing(configure: Configure) -> None:
    assert configure("User u\n", file="none").target("x").settings.user == "ann"


def test_errors_name_file_and_line_and_a_likely_spelling(configure: Configure) -> None:
    with pytest.raises(
        UsageError, match=r"\.ssh/config:3: bad configuration option: prot; did you mean port\?"
    ):
        configure("\nHost x\n Prot 22\n")
    with pytest.raises(UsageError, match="-o: bad configuration option: usr; did you mean user"):
        configure("", options=["Usr=x"])


def test_keywords_that_would_matter_are_warned_of(configure: Configure) -> None:
    config = configure("KnownHostsCommand /bin/x\n")
    assert [warning.rpartition("/")[2] for warning in config.warnings] == [
        "config:1: knownhostscommand is not supported and is passed over"
    ]


def test_match_exec_runs_once_for_each_command(configure: Configure) -> None:
    commands: list[str] = []

    def run(command: str) -> bool:
        commands.append(command)
        return command == "is web1"

    config = configure('Match host web* exec "is %h"\n User www\nMatch exec same\n Port 5\n', run=run)
    users = [config.target(name).settings.user for name in ("web1", "web2", "db1", "web1")]
    assert users == ["www", "ann", "ann", "www"]
    assert commands == ["is web1", "same", "is web2"]


def test_match_tagged(configure: Configure) -> None:
    config = configure('Host web*\n Tag front\nMatch tagged front\n Port 5\nMatch tagged ""\n Port 6\n')
    assert config.target("web1").settings.port == 5
    assert config.target("db1").settings.port == 6


@pytest.mark.parametrize("criterion", ["localnetwork 10.0.0.0/8", "version x", "command x", "sessiontype x"])
def test_criteria_that_are_not_supported_say_so(configure: Configure, criterion: str) -> None:
    with pytest.raises(UsageError, match=r"config:1: Match \w+ is not supported"):
        configure(f"Match {criterion}\n")


def test_canonicalization_that_would_look_names_up_is_an_error(configure: Configure) -> None:
    config = configure("CanonicalizeHostname yes\nCanonicalDomains example.com\n")
    with pytest.raises(UsageError, match="CanonicalDomains"):
        config.target("web1")
    assert config.target("web1.a.b").hostname == "web1.a.b"


@pytest.mark.parametrize(
    ("text", "environ", "agent"),
    [
        ("", {"SSH_AUTH_SOCK": "/s"}, "/s"),
        ("", {}, None),
        ("IdentityAgent none", {"SSH_AUTH_SOCK": "/s"}, None),
        ("IdentityAgent SSH_AUTH_SOCK", {"SSH_AUTH_SOCK": "/s"}, "/s"),
        ("IdentityAgent $OTHER", {"OTHER": "/o"}, "/o"),
        ("IdentityAgent $OTHER", {"SSH_AUTH_SOCK": "/s"}, None),
        ("IdentityAgent ${OTHER}/x", {"OTHER": "/o"}, "/o/x"),
        ("IdentityAgent /a/%u", {}, "/a/ann"),
    ],
)
def test_identity_agent(tmp_path: Path, text: str, environ: dict[str, str], agent: str | None) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    local = Local(user="ann", uid=1, home="/home/ann", hostname="h", environ=environ)
    assert read_config(file=str(path), local=local).target("x").settings.identity_agent == agent


def test_proxy_command_is_expanded_for_each_host(configure: Configure) -> None:
    config = configure("ProxyCommand nc %h %p '%n' %r %% \"${X}\"\nHost web*\n Port 5\n HostName %h.net\n")
    assert config.target("web1").settings.proxy_command == "nc web1.net 5 'web1' ann % \"${X}\""
    assert config.target("db1").settings.proxy_command == "nc db1 22 'db1' ann % \"${X}\""


def test_100_000_hosts_take_seconds(configure: Configure) -> None:
    config = configure(
        "Host web* !web13\n User www\nMatch host *.example.net user www\n Port 1\n"
        "Host *\n HostName %h.example.com\n IdentityFile ~/.ssh/fleet\n"
    )
    start = time.process_time()
    shared = {id(config.target(f"web{n}").settings) for n in range(100_000)}
    assert len(shared) == 2
    assert time.process_time() - start < 10  # about 0.6 s; the rest is for a busy machine
