from __future__ import annotations

import time
import tracemalloc

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import InventoryError
from multirsh.inventory import Inventory
from multirsh.inventory.yaml_nodes import MAX_DEPTH
from multirsh.model import HostKeyPolicy, Settings, SourcePort, TransportName
from tests.inventory.reading import attempt, place, read, refused

CONTRACT = """\
defaults: {user: deploy, port: 22}
hosts:
  - web[01-12].example.com
  - db1: {address: db1.example.com, user: postgres, port: 2222}
groups:
  web: {hosts: ["web[01-12].example.com"], user: www}
  old: {hosts: ["sw[1-4]"], transport: rsh}
  db: {hosts: [db1]}
  prod: {groups: [web, db]}
"""


def test_the_file_of_the_contract_is_read() -> None:
    inventory = read(CONTRACT)
    assert len(inventory.hosts) == 17
    db1 = inventory.by_name["db1"]
    assert (db1.address, db1.target) == ("db1.example.com", "db1.example.com")
    assert db1.settings == Settings(user="postgres", port=2222)
    web = inventory.by_name["web03.example.com"]
    assert (web.address, web.target) == (None, "web03.example.com")
    assert web.settings == Settings(user="www", port=22)
    assert inventory.by_name["sw4"].settings == Settings(user="deploy", port=22, transport=TransportName.RSH)
    assert [host.name for host in inventory.hosts][-5:] == ["db1", "sw1", "sw2", "sw3", "sw4"]


def test_every_setting_is_read() -> None:
    inventory = read(
        "hosts:\n- h: {user: a, port: 1, identity: ~/k, jump: 'b@j:2,none', transport: exec,"
        " source_port: reserved, host_keys: off, vars: {s: x, i: -3, f: 1.5, t: true, n: null, q: '010'}}"
    )
    (host,) = inventory.hosts
    assert host.settings == Settings(
        user="a",
        port=1,
        identity="~/k",
        jump="b@j:2,none",
        transport=TransportName.EXEC,
        source_port=SourcePort.RESERVED,
        host_keys=HostKeyPolicy.OFF,
    )
    assert dict(host.vars) == {"s": "x", "i": -3, "f": 1.5, "t": True, "n": None, "q": "010"}


def test_a_range_with_settings_shares_them() -> None:
    inventory = read('hosts: ["web[1-3]": {user: a, address: "10.0.0.[7-9]"}]')
    assert [(host.name, host.address) for host in inventory.hosts] == [
        ("web1", "10.0.0.7"),
        ("web2", "10.0.0.8"),
        ("web3", "10.0.0.9"),
    ]
    assert len({id(host.settings) for host in inventory.hosts}) == 1
    assert len({id(host.vars) for host in inventory.hosts}) == 1


@pytest.mark.parametrize(
    "name",
    [
        "::1",
        "fe80::1%eth0",
        "10.0.0.1",
        "1.2.3",
        "no.example",
        "0x10x",
        "2024-01-01-web",
        "nope",
        "y",
        "1e3-a",
        "inf",
    ],
)
def test_a_plain_name_that_no_yaml_takes_for_something_else(name: str) -> None:
    assert [host.name for host in read(f"hosts:\n- {name}").hosts] == [name]


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("no", "false"),
        ("Yes", "true"),
        ("off", "false"),
        ("null", "null"),
        ("~", "null"),
        ("010", "the number 8"),
        ("12", "the number 12"),
        ("0x10", "the number 16"),
        ("0b11", "the number 3"),
        ("0o17", "not all YAML"),
        ("1_000", "the number 1000"),
        ("1.10", "the number 1.1"),
        ("1e3", "not all YAML"),
        (".5", "the number 0.5"),
        (".inf", "the number inf"),
        ("22:22", "the number 1342"),
        ("1:2:3:4:5:6:7:8", "the number"),
        ("2024-01-01", "a date"),
        ("2024-99-99", "not all YAML"),
        ("2024-01-01 10:00:00", "a date"),
        ("<<", "not all YAML"),
        ("=", "not all YAML"),
    ],
)
def test_a_plain_name_that_yaml_would_change_has_to_be_quoted(name: str, reading: str) -> None:
    error = refused(f"hosts:\n  - {name}\n")
    assert place(error) == (2, 5)
    assert reading in error.message
    assert error.hint == f'write "{name}" if text is meant'


@pytest.mark.parametrize("name", ["no", "010", "12", "2024-01-01", "1e3"])
def test_a_quoted_name_is_itself(name: str) -> None:
    assert [host.name for host in read(f'hosts: ["{name}"]').hosts] == [name]


@pytest.mark.parametrize(
    "value", ["0644", "yes", "Off", "1e3", "0x1F", "22:22", "1.10", "2024-01-01", "1_0", "9" * 19]
)
def test_a_variable_that_readers_of_yaml_disagree_on_has_to_be_quoted(value: str) -> None:
    error = refused(f"hosts: [a]\ndefaults: {{vars: {{x: {value}}}}}")
    assert place(error) == (2, 22)
    assert error.hint == f'write "{value}" if text is meant'


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        # the top
        ("- a", (1, 1), "the file must be a mapping", "begins with hosts:"),
        ("a", (1, 1), "the file must be a mapping", "begins with hosts:"),
        ("# nothing", (1, 1), "nothing in it but comments", None),
        ("host: [a]", (1, 1), "the key 'host' is not known here", "did you mean hosts?"),
        ("nodes: [a]", (1, 1), "the key 'nodes' is not known here", "did you mean hosts?"),
        ("hosts: [a]\nzzz: 1", (2, 1), "'zzz' is not known", "the keys are defaults, hosts, groups"),
        ("hosts: [a]\nweb: {hosts: [b]}", (2, 1), "'web' stands at the top", "under groups:"),
        ("hosts: [a]\nhosts: [b]", (2, 1), "'hosts' is here twice", "the first is on line 1"),
        ("hosts: [a]\n---\nhosts: [b]", (2, 1), "a second document", "its own file"),
        ("hosts: []", (None, None), "there are no hosts in it", None),
        ("groups: {g: {hosts: []}}", (None, None), "there are no hosts in it", None),
        # parts of YAML that are not let in
        ("hosts: [&a b]", (1, 9), "the anchor &a", "quotes"),
        ("hosts: &a [b]", (1, 8), "the anchor &a", "quotes"),
        ("hosts: [*a]", (1, 9), "the alias *a", "quotes"),
        ("hosts: !!set [b]", (1, 8), "the tag '!!set'", "quotes"),
        ("hosts: [! b]", (1, 9), "the tag '!'", "quotes"),
        ("hosts: !!python/object/apply:os.system [id]", (1, 8), "the tag '!!python/object/apply", "quotes"),
        ("? [a]\n: b", (1, 3), "a key must be text", "quote"),
        ("[" * 30, (1, 21), "nested more than 20 deep", None),
        # what is not YAML
        ("hosts: [web[1-3]]", (1, 12), "this is not YAML", "quote names that have brackets"),
        ("hosts:\n\t- a", (2, 1), "this is not YAML", "not with tabs"),
        ("hosts:\n- @web", (2, 3), "this is not YAML", "quote text that starts with @"),
        ("hosts: [a", (None, None), "this is not YAML", None),
        # hosts
        ("hosts:", (1, 7), "hosts is empty", "'- '"),
        ("hosts: a", (1, 8), "hosts must be a list", "'- '"),
        ("hosts: {a: {}}", (1, 8), "hosts must be a list", "'- '"),
        ("hosts: [[a]]", (1, 9), "a host must be a name, not a list", "quote"),
        ("hosts:\n- a:\n  user: x", (3, 3), "one item holds one host", "indent the settings of 'a'"),
        ("hosts:\n- a: {}\n  b: {}", (3, 3), "one item holds one host", "'- ' before each"),
        ("hosts: [{}]", (1, 9), "a host is missing", None),
        ("hosts:\n- a: b", (2, 6), "the settings of 'a' must be a mapping", "- NAME"),
        ("hosts:\n-", (2, 2), "a host name is missing", None),
        ("hosts: [user@a]", (1, 9), "a user or a port cannot stand", "write a: {user: user} under hosts:"),
        ("hosts: ['a:22']", (1, 10), "a user or a port cannot stand", "write a: {port: 22} under hosts:"),
        ("hosts: ['@web']", (1, 10), "a group cannot stand among hosts", "under groups:"),
        ("hosts: ['web*']", (1, 13), "'*' cannot be in a host name", "-w and -x"),
        ("hosts: ['a;id']", (1, 11), "';' cannot be in a host name", None),
        ("hosts:\n  - web[3-1]", (2, 9), "backwards", "low end first"),
        ("hosts:\n  - a,web[3-1]", (2, 11), "backwards", "low end first"),
        ('hosts:\n  - "a\\x2cweb[3-1]"', (2, 5), "backwards", "low end first"),
        ('hosts: ["a\\x07"]', (1, 9), "control characters", None),
        ("hosts: ['h[1-999999999]']", (1, 10), "999,999,999 names are too many", "the limit is 1,000,000"),
        # settings
        ("hosts:\n- a: {prot: 22}", (2, 7), "'prot' is not known", "did you mean port?"),
        ("hosts:\n- a: {ansible_host: b}", (2, 7), "'ansible_host' is not known", "did you mean address?"),
        ("hosts:\n- a: {user: x, user: y}", (2, 16), "'user' is here twice", "line 2"),
        ("defaults: {address: a}", (1, 12), "defaults cannot have an address", "only a host"),
        ("groups: {w: {address: a}}", (1, 14), "a group cannot have an address", "only a host"),
        ("hosts:\n- a: {user: no}", (2, 13), "YAML reads no as false", 'write "no"'),
        ("hosts:\n- a: {user: }", (2, 13), "user is missing", None),
        ("hosts:\n- a: {user: [x]}", (2, 13), "user must be text, not a list", None),
        ("hosts:\n- a: {user: -x}", (2, 13), "cannot start with '-'", None),
        ("hosts:\n- a: {user: x y}", (2, 14), "a blank cannot be in a user name", None),
        ("hosts:\n- a: {port: 22:22}", (2, 13), "YAML reads it as the number 1342", "1 to 65535"),
        ("hosts:\n- a: {port: 010}", (2, 13), "YAML reads it as the number 8", "1 to 65535"),
        ("hosts:\n- a: {port: 0}", (2, 13), "'0' is not a port", "1 to 65535"),
        ("hosts:\n- a: {port: 70000}", (2, 13), "'70000' is not a port", "1 to 65535"),
        ("hosts:\n- a: {port: -1}", (2, 13), "'-1' is not a port", "1 to 65535"),
        ("hosts:\n- a: {port: ssh}", (2, 13), "'ssh' is not a port", "1 to 65535"),
        ("hosts:\n- a: {port: '22'}", (2, 14), "not text", "write 22 without quotes"),
        ("hosts:\n- a: {port: {}}", (2, 13), "port must be a number, not a mapping", None),
        ("hosts:\n- a: {port: }", (2, 13), "port is missing", "1 to 65535"),
        ("hosts:\n- a: {transport: shs}", (2, 18), "transport cannot be 'shs'", "did you mean ssh?"),
        ("hosts:\n- a: {host_keys: no}", (2, 18), "host_keys cannot be 'no'", None),
        ("hosts:\n- a: {host_keys: [off]}", (2, 18), "one of strict, accept-new, off, not a list", None),
        ("hosts:\n- a: {jump: 'b,-oX'}", (2, 16), "cannot start with '-'", None),
        ("hosts:\n- a: {jump: 'b[1-2]'}", (2, 14), "a hop is one host", None),
        ("hosts:\n- a: {jump: 'b:0'}", (2, 16), "'0' is not a port", None),
        ("hosts:\n- a: {address: 'b c'}", (2, 18), "a blank cannot be", None),
        ("hosts:\n- a: {address: [b]}", (2, 16), "address must be text", None),
        ("hosts:\n- 'a[1-3]': {address: 'b[1-2]'}", (2, 24), "the addresses 2", "10.0.0.[1-4]"),
        ("hosts:\n- a: {vars: [x]}", (2, 13), "vars must be a mapping", "vars: {name: value}"),
        ("hosts:\n- a: {vars: {x: [y]}}", (2, 17), "must be one value, not a list", None),
        ("hosts:\n- a: {vars: {x: }}", (2, 17), "has no value", "write null"),
        ("hosts:\n- a: {vars: {no: 1}}", (2, 14), "YAML reads no as false", None),
        # groups
        ("groups: [a]", (1, 9), "groups must be a mapping", "groups: {web: {hosts: [...]}}"),
        ("groups: {w: [a]}", (1, 13), "the group w must be a mapping", "w: {hosts: [...]}"),
        ("groups:\n  w:\n", (2, 5), "the group w is empty", "w: {hosts: [...]}"),
        ("groups: {a b: {}}", (1, 10), "'a b' cannot name a group", "letters"),
        ("groups: {on: {}}", (1, 10), "YAML reads on as true", 'write "on"'),
        ("groups: {w: {host: [a]}}", (1, 14), "'host' is not known", "did you mean hosts?"),
        ("groups: {w: {children: [a]}}", (1, 14), "'children' is not known", "did you mean groups?"),
        ("groups: {w: {hosts: {a: {}}}}", (1, 21), "hosts must be a list", None),
        ("groups: {w: {hosts: [a: {}]}}", (1, 22), "settings cannot stand in a group", "top-level hosts:"),
        ("groups: {w: {hosts: [[a]]}}", (1, 22), "must be a name", None),
        ("groups: {w: {hosts: [a], groups: [b]}}", (1, 35), "there is no group b", None),
        ("groups: {w: {hosts: [a], groups: [weeb]}, web: {}}", (1, 35), "no group weeb", "did you mean web?"),
        ("groups: {w: {hosts: [a], groups: [a]}}", (1, 35), "there is no group a", "that is a host"),
        ("groups: {w: {hosts: [a], groups: ['x!']}}", (1, 36), "cannot name a group", None),
        ("groups: {w: {hosts: [a], groups: [w]}}", (1, 35), "cannot contain itself: w > w", None),
    ],
)  # fmt: skip
def test_a_file_is_refused_with_its_place(
    text: str, where: tuple[int | None, int | None], message: str, hint: str | None
) -> None:
    error = refused(text)
    assert message in error.message
    if where != (None, None):
        assert place(error) == where
    if hint is not None:
        assert hint in (error.hint or "")
    assert error.source == "hosts.yaml"


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    _refused_cheaply(bomb + "hosts: *i\n", "anchor")


def test_nesting_is_refused_beyond_a_depth() -> None:
    accepted = refused("hosts: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    assert "nested" not in accepted.message  # but a host is not a list
    assert "nested more than" in refused("hosts: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH).message


def test_deep_nesting_is_refused_at_once() -> None:
    # By us or by the YAML parser, which may have a bound of its own and words of its own for it.
    error = _refused_cheaply("hosts: " + "[" * 100_000)
    assert place(error)[0] == 1


def test_a_tag_is_refused_at_once_and_not_run() -> None:
    _refused_cheaply("hosts: !!python/object/apply:os.system ['touch /nowhere/sentinel']", "the tag")


def _refused_cheaply(text: str, message: str = "") -> InventoryError:
    tracemalloc.start()
    start = time.process_time()
    error = refused(text)
    took = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message in error.message
    assert took < 1  # 0.1 s is the aim, and tracemalloc and a busy machine take their share
    assert peak < 50_000_000
    return error


def test_the_pure_python_parser_of_yaml_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(CONTRACT)
    monkeypatch.setattr("multirsh.inventory.yaml_nodes._LOADER", yaml.SafeLoader)
    got = read(CONTRACT)
    assert got.hosts == expected.hosts
    assert place(refused("hosts:\n- a: {port: 0}")) == (2, 13)
    assert "quote names that have brackets" in (refused("hosts: [web[1-3]]").hint or "")


scalars = st.one_of(
    st.sampled_from(
        [
            "a",
            "web[1-3]",
            "no",
            "010",
            "22",
            "22:22",
            "",
            "~",
            "@g",
            "u@h",
            "h:1",
            "::1",
            "-x",
            "*",
            "a,b",
            "é",
        ]
    ),
    st.text("ab[]1-,:@ \n\t\x07\"'#{}&*!%\u202e", max_size=6),
    st.integers(-2, 70000),
    st.booleans(),
    st.none(),
    st.floats(),
    st.dates(),
)
keys = st.sampled_from(
    [
        "hosts",
        "groups",
        "defaults",
        "user",
        "port",
        "vars",
        "address",
        "jump",
        "identity",
        "transport",
        "g",
        "h1",
    ]
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(keys, scalars), inner, max_size=4)
    ),
    max_leaves=20,
)
sections = st.fixed_dictionaries(
    {},
    optional={
        "defaults": st.dictionaries(keys, scalars, max_size=3),
        "hosts": st.lists(st.one_of(scalars, st.dictionaries(scalars, trees, max_size=2)), max_size=5),
        "groups": st.dictionaries(
            scalars, st.one_of(trees, st.dictionaries(keys, trees, max_size=3)), max_size=4
        ),
    },
)


def _check(outcome: Inventory | InventoryError) -> None:
    if isinstance(outcome, InventoryError):
        assert outcome.source == "hosts.yaml"
        assert outcome.line is None or outcome.line >= 1
        assert outcome.column is None or outcome.column >= 1
        assert str(outcome).isprintable()
    else:
        assert outcome.hosts
        for host in outcome.hosts:
            assert not set(host.name) & set(" \n\t;@*[]'\"$")
            assert set(outcome.groups_of(host.name)) <= set(outcome.groups)


@given(st.one_of(trees, sections), st.sampled_from([True, False, None]))
def test_any_yaml_makes_an_inventory_or_an_error_with_a_place(tree: object, flow: bool | None) -> None:  # noqa: FBT001 - hypothesis gives it by name
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    _check(attempt(lambda: read(text)))


@given(st.text("hosts:[]{}-ab1 \n\t\"'#&*!|>%@`,?~\\", max_size=40))
def test_any_text_makes_an_inventory_or_an_error_with_a_place(text: str) -> None:
    _check(attempt(lambda: read("hosts:" + text)))
    _check(attempt(lambda: read(text)))


@given(st.binary(max_size=40))
def test_any_bytes_make_an_inventory_or_an_error_with_a_place(data: bytes) -> None:
    _check(attempt(lambda: read(data)))


def test_more_hosts_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multirsh.inventory.draft.MAX_NAMES", 5)
    error = refused("hosts: ['a[1-3]', 'b[1-3]']")
    assert place(error) == (1, 1)
    assert error.message == "6 hosts are too many"


def test_more_names_in_all_ranges_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multirsh.inventory.draft.MAX_MENTIONS", 5)
    error = refused("groups: {a: {hosts: ['h[1-3]']}, b: {hosts: ['h[1-3]']}}")
    assert place(error) == (1, 47)
    assert "more than 5 names" in error.message
