"""What is typed wrong is said on one line, with the way out, and nothing is connected to."""

from __future__ import annotations

import pytest

from tests.program import Program

HOSTS = """\
hosts:
  - web[01-12]
groups:
  web: {hosts: ["web[01-04]"]}
"""

WRONG = {
    ("-f", "hosts.yaml"): "there is no command to run; it comes after the options: "
    "multirsh -f hosts.yaml uptime",
    ("-f", "hosts.yaml", " "): "there is no command to run; it comes after the options: "
    "multirsh -f hosts.yaml uptime",
    ("web1", "uptime"): "no hosts are named; give a hosts file (-f hosts.yaml) or names (-w web1,web2), "
    "or try it out: multirsh lab uptime",
    (
        "run",
        "lab",
        "uptime",
    ): "no hosts are named; give a hosts file (-f hosts.yaml) or names (-w web1,web2), "
    "or try it out: multirsh lab uptime",
    ("-a", "uptime"): "-a needs a hosts file; name one with -f",
    ("--bogus", "x"): "there is no option --bogus; see multirsh --help",
    ("hosts", "--bogus"): "there is no option --bogus; see multirsh hosts --help",
    ("--stdin-default", "none", "x"): "there is no option --stdin-default; did you mean --stdin-file?",
    ("--fanuot", "3", "x"): "there is no option --fanuot; did you mean --fanout?",
    ("-f", "32", "x"): "32: there is no such file; -f names a hosts file; for the fanout use -j 32",
    ("-f", "nowhere", "x"): "nowhere: there is no such file",
    ("-f", "empty", "x"): "empty: it is empty",
    ("-f", ".", "x"): ".: this is a directory, not a hosts file",
    ("-f", "torn.yaml", "x"): "torn.yaml:3:3: this is not YAML: ",
    ("-f", "key.yaml", "x"): "key.yaml:2:16: the key 'host' is not known here; did you mean hosts?",
    ("-f", "port.yaml", "x"): "port.yaml:2:18: ",
    ("-f", "hosts.yaml", "-g", "wbe", "x"): "-g:1: there is no group wbe in hosts.yaml; did you mean web?",
    ("-f", "hosts.yaml", "-w", "wen01", "x"): "-w:1: wen01 is not in hosts.yaml; did you mean web01?",
    ("-f", "hosts.yaml", "-w", "web01!web01", "x"): "no host is selected; "
    "the groups or the expression hold none",
    ("-f", "hosts.yaml", "-x", "web*", "x"): "no host is selected; -x excludes all that were",
    ("-w", "h[1-999999999]", "x"): "-w:1: 999,999,999 names are too many; the limit is 1,000,000",
    ("-w", "h[1-", "x"): "-w:2: this '[' is never closed",
    ("-w", "-oProxyCommand=touch here", "x"): "-w:1: a host name cannot start with '-'",
    ("-w", "a;touch here", "x"): "-w:2: ';' cannot be in a host name",
    ("-w", "a", "-j", "0", "x"): "-j/--fanout: '0' is not a whole number of 1 or more",
    ("-w", "a", "-j", "many", "x"): "-j/--fanout: 'many' is not a whole number of 1 or more",
    ("-w", "a", "-p", "70000", "x"): "-p/--port: '70000' is not a whole number from 1 to 65535",
    ("-w", "a", "-t", "nan", "x"): "-t/--connect-timeout: 'nan' is not a number of seconds above 0",
    ("-w", "a", "-t", "-1", "x"): "-t/--connect-timeout: '-1' is not a number of seconds above 0",
    ("-w", "a", "-u", "inf", "x"): "-u/--command-timeout: 'inf' is not a number of seconds above 0",
    ("-w", "a", "--close-timeout", "0", "x"): "--close-timeout: '0' is not a number of seconds above 0",
    ("-w", "a", "--deadline", "0", "x"): "--deadline: '0' is not a number of seconds above 0",
    ("-w", "a", "--kill-after", "soon", "x"): "--kill-after: 'soon' is not a number of seconds above 0",
    ("-w", "a", "--retries", "-1", "x"): "--retries: '-1' is not a whole number of 0 or more",
    ("-w", "a", "--retry-delay", "0", "x"): "--retry-delay: '0' is not a number of seconds above 0",
    ("-w", "a", "--handshakes", "0", "x"): "--handshakes: '0' is not a whole number of 1 or more",
    ("-w", "a", "--start-rate", "fast", "x"): "--start-rate: 'fast' is not a start rate; "
    "give connections a second, such as 20 or 0.5, or auto",
    ("-w", "a", "--start-rate", "0", "x"): "--start-rate: a start rate of 0 would start nothing; "
    "give connections a second, such as 20 or 0.5, or auto",
    ("-w", "a", "--max-fail", "0", "x"): "--max-fail: a number of failures of 0 is none at all; "
    "give a number of hosts, such as 3, or a share of them, such as 10%",
    ("-w", "a", "--max-fail", "some", "x"): "--max-fail: 'some' is not a number of failures; "
    "give a number of hosts, such as 3, or a share of them, such as 10%",
    ("-w", "a", "--batch", "1,,2", "x"): "--batch: '' is not a batch size; "
    "give numbers and shares of all hosts, such as 1,10%,100%",
    ("-w", "a", "--batch", "120%", "x"): "--batch: a batch size of 120% is more than all hosts; "
    "give numbers and shares of all hosts, such as 1,10%,100%",
    ("-w", "a", "--batch", "1", "--batch-delay", "nan", "x"): "--batch-delay: 'nan' is not a number of "
    "seconds above 0",
    ("-w", "a", "--batch-delay", "1", "x"): "--batch-delay requires --batch, which divides the hosts",
    ("-w", "a", "--gate", "true", "x"): "--gate requires --batch, which divides the hosts",
    ("-w", "a", "--gate", "", "x"): "--gate has no command; give one, such as 'curl -fs http://lb/health'",
    ("-w", "a", "--batch", "1", "--gate", "hosts: ", "x"): "--gate has no command; "
    "give one, such as 'curl -fs http://lb/health'",
    ("-w", "a", "--step", "x"): "--step requires --batch, which divides the hosts",
    ("-w", "a", "--batch", "1", "--barrier", "x"): "a barrier holds all hosts at once, "
    "and batches do not; give --barrier or --batch, not both",
    (
        "-w",
        "a",
        "-R",
        "telnet",
        "x",
    ): "-R/--transport: there is no transport 'telnet'; it is one of ssh, rsh, exec, local",
    ("-f", "ex.yaml", "x"): "exec needs to know what program reaches a host; say it, such as "
    "--exec 'kubectl exec -i %h -- sh -c %c'",
    ("-w", "a", "-o", "Prot=3", "x"): "-o: bad configuration option: prot; did you mean port?",
    ("-w", "a", "-o", "Port", "x"): "-o: port needs an argument",
    ("-w", "a", "-F", "nowhere", "x"): "-F nowhere: No such file or directory",
    ("-w", "a", "-J", "-x", "x"): "-J/--jump: a jump host cannot be '-x': it begins with '-', as options do; "
    "give the name or address that the host has in the network",
    ("-w", "a", "-J", "@b", "x"): "jump of a: '@b' is not a jump host; a jump host is [user@]host[:port]",
    ("-w", "a", "-i", "nowhere", "x"): "the key nowhere cannot be used: there is no such file",
    ("-w", "a", "--password-file", "nowhere", "x"): "the password cannot be read from nowhere: "
    "No such file or directory",
    ("-w", "a", "--password-file", "open", "x"): "the password file open can be read by others (mode 0644); "
    "chmod 600 open",
    ("-w", "a", "--password-command", "exit 3", "x"): "the password command failed with exit status 3",
    ("-w", "a", "--ask-pass", "--password-file", "open", "x"): "--ask-pass, --password-file and "
    "--password-command exclude each other; use one of them",
    ("-w", "a", "--ports", "0", "x"): "--ports: a budget of 0 local ports allows no connection; "
    "give a number such as 500, or a share such as 50%",
    ("-w", "a", "--ports", "101%", "x"): "--ports: 101% of the local ports cannot be used; "
    "give a number such as 500, or a share such as 50%",
    ("-w", "a", "--ports", "many", "x"): "--ports: 'many' is not a number of local ports; "
    "give a number such as 500, or a share such as 50%",
    ("-w", "a", "--port-wait", "-1", "x"): "--port-wait: '-1' is not a number of seconds above 0",
    ("-w", "a", "--bind", "eth0", "x"): "'eth0' is not an IP address to leave from; "
    "give one of those that 'ip address' lists",
    (
        "-w",
        "a",
        "--bind",
        "192.0.2.1",
        "x",
    ): "192.0.2.1 cannot be left from: "
    "Cannot assign requested address; "
    "give one of those that 'ip address' lists",
    ("lab", "--hosts", "0", "x"): "--hosts: '0' is not a whole number of 1 or more",
    ("lab", "--hosts", "100000", "x"): "a lab has 1 to 65024 hosts, not 100000",
    ("lab", ""): "there is no command to run; it comes after the options: multirsh -f hosts.yaml uptime",
}


@pytest.fixture
def user(multirsh: Program) -> Program:
    """Somebody with files, good and bad, in the current folder."""
    multirsh.write("hosts.yaml", HOSTS)
    multirsh.write("empty", "")
    multirsh.write("open", "secret\n")
    multirsh.write("torn.yaml", "hosts:\n  - web1\n  port: 22\n")
    multirsh.write("key.yaml", "hosts: [web1]\ngroups: {web: {host: [a]}}\n")
    multirsh.write("port.yaml", "hosts:\n  - web1: {port: 22:22}\n")
    multirsh.write("ex.yaml", "hosts:\n  - old: {transport: exec}\n")
    return multirsh


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_words(user: Program, args: tuple[str, ...]) -> None:
    """One line on stderr, exit code 2, and no trace of the command."""
    ended = user(*args)

    assert ended.err.startswith(f"multirsh: {WRONG[args]}")
    assert ended.err.count("\n") == 1
    if not WRONG[args].endswith(" "):
        assert ended.err == f"multirsh: {WRONG[args]}\n"
    assert (ended.code, ended.out) == (2, "")
    assert not (user.home / "here").exists()


@pytest.mark.parametrize(
    ("args", "name", "help_of"),
    [
        (("hosts", "x"), "x", "multirsh hosts"),
        (("-f",), "-f", "multirsh"),
        (("--json=1", "x"), "--json", "multirsh"),
    ],
)
def test_what_click_words_names_what_is_wrong_and_where_help_is(
    user: Program, args: tuple[str, ...], name: str, help_of: str
) -> None:
    ended = user(*args)

    assert ended.err.startswith("multirsh: ")
    assert name in ended.err.removeprefix("multirsh: ").removesuffix(f"; see {help_of} --help\n")
    assert ended.err.endswith(f"; see {help_of} --help\n")
    assert ended.err.count("\n") == 1
    assert (ended.code, ended.out) == (2, "")


def test_alone_it_explains_itself(multirsh: Program) -> None:
    ended = multirsh()

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: multirsh [run] [OPTIONS] COMMAND [ARG]...\n")


@pytest.mark.parametrize("args", [("--help",), ("-h",), ("run", "--help"), ("-w", "a", "-h")])
def test_help_has_its_sections(multirsh: Program, args: tuple[str, ...]) -> None:
    ended = multirsh(*args)

    headings = [line for line in ended.out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[:8] == [
        "Hosts:",
        "Connection:",
        "Run:",
        "Retries and batches:",
        "Output:",
        "Record:",
        "Ports and closing:",
        "Other:",
    ]
    assert max(map(len, ended.out.splitlines())) <= 80
    assert (ended.code, ended.err) == (0, "")


def test_a_name_that_nobody_has_is_that_hosts_failure(multirsh: Program) -> None:
    ended = multirsh("-w", "no-such-host.invalid", "x")

    assert (ended.code, ended.out) == (4, "")
    assert "unreachable (name): no-such-host.invalid\n" in ended.err


WARNING = "multirsh: warning: {} is the name of a file here{}; if the shell has made it of a pattern, "


def test_a_pattern_that_the_shell_has_expanded_is_warned_of(multirsh: Program) -> None:
    """Files of hosts' names are here: of --outdir, for one."""
    (multirsh.home / "out").mkdir()
    for name in ("web1", "web2"):
        multirsh.write(f"out/{name}", "")
    local = "-R local --no-journal -q"
    one = multirsh.shell(f"cd out; multirsh {local} -w web[1-3] 'echo ran'")
    assert WARNING.format("-w web1", ", and so are the words after it: web2") in one.err
    assert "quote that, as in -w 'web[1-3]'\n" in one.err

    for line, told in (
        ("multirsh hosts -w web[2-3]", "-w web2"),
        ("multirsh hosts -w 'web[1-9]' -x web[2-3]", "-x web2"),
        (f"multirsh {local} -w web[2-3] true", "-w web2"),
        (f"multirsh script {local} -w web[2-3] ../job", "-w web2"),
        (f"multirsh push {local} -w web[2-3] ../job x", "-w web2"),
        (f"multirsh shell {local} -w web[2-3] </dev/null", "-w web2"),
    ):
        multirsh.write("job", "true\n")
        warned = multirsh.shell(f"cd out; {line}")
        assert (warned.code, warned.err.startswith(WARNING.format(told, "")), warned.err.count("\n")) == (
            *(0, True, 1),
        ), line


def test_hosts_files_that_the_shell_has_named_are_warned_of(multirsh: Program) -> None:
    for name in ("lists/a", "lists/b", "lists/b.sh"):
        multirsh.write(name, "h\n")
    run = "multirsh -R local --no-journal -q"
    told = "multirsh: warning: the command begins with lists/b, a file beside lists/a; "
    assert multirsh.shell(f"{run} -f lists/? echo").err.startswith(told)
    assert "warning" not in multirsh.shell(f"{run} -f lists/a lists/b.sh").err


@pytest.mark.parametrize("nodes", ["web[1-3]", "web1,web2", "web3", "root@web1", "out"])
def test_a_quoted_pattern_is_not(multirsh: Program, nodes: str) -> None:
    for name in ("web1", "web2"):
        multirsh.write(name, "")
    assert multirsh("hosts", "-w", nodes).err == ""


def test_an_excluded_name_of_the_settings_is_not(multirsh: Program) -> None:
    multirsh.write("web1", "")
    assert multirsh("hosts", "-w", "web[1-2]", env={"MULTIRSH_EXCLUDE": "web1"}).err == ""
    assert multirsh("hosts", "-w", "a", "-x", "b", "--missing-ok").out == "a\n"
