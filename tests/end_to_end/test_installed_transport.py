"""A transport that another distribution brings: installed by pip, known by its name, or an error."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.program import ROOT, Program
from tests.waiting import HANG_GUARD_S

MODULE = """
from multirsh.transports.options import ExecOptions
from multirsh.transports.exec.transport import ExecTransport


def pigeon(*, settings, warn):
    warn(f"a pigeon flies as {settings.user}")
    return ExecTransport(ExecOptions(settings=settings, template="sh -c %c by-pigeon-to-%n"))
"""


def install(folder: Path, target: Path, *, name: str = "pigeons", entry: str = "pigeons:pigeon") -> None:
    """Have pip install a distribution with a transport called ``pigeon``: a wheel is a zip file (PEP 427)."""
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        "pigeons.py": MODULE,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[multirsh.transports]\npigeon = {entry}\nssh = pigeons:nothing\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"),
            *("--disable-pip-version-check", "--upgrade", "--target", str(target), str(wheel)),
        ],
        check=True,
        timeout=HANG_GUARD_S,
    )


@pytest.fixture
def target(tmp_path: Path, multirsh: Program) -> Path:
    """Where distributions are installed for this program."""
    folder = tmp_path / "target"
    multirsh.environ["PYTHONPATH"] = f"{ROOT}:{folder}"
    return folder


def test_it_is_known_by_its_name(multirsh: Program, tmp_path: Path, target: Path) -> None:
    install(tmp_path, target)
    ended = multirsh("-w", "a,b", "-R", "pigeon", "-l", "me", "echo $0; exit 3")
    assert sorted(ended.out.splitlines()) == ["a: by-pigeon-to-a", "b: by-pigeon-to-b"]
    assert "a pigeon flies as me" in ended.err
    assert ended.code == 5

    multirsh.write("hosts.yaml", "hosts:\n- a: {transport: pigeon}\n- b: {transport: local}\n")
    ended = multirsh("-f", "hosts.yaml", "echo $0", env={"SHELL": "/bin/sh"})
    assert sorted(ended.out.splitlines()) == ["a: by-pigeon-to-a", "b: sh"]

    multirsh.write("hosts.yaml", "hosts:\n- a:\n    transport: pigoen\n")
    ended = multirsh("-f", "hosts.yaml", "true")
    assert "hosts.yaml:3:16: transport cannot be 'pigoen'; did you mean pigeon?" in ended.err
    assert ended.code == 2


def test_without_it_the_name_is_an_error_with_its_place(multirsh: Program) -> None:
    multirsh.write("hosts.yaml", "hosts:\n- a:\n    transport: pigeon\n")
    ended = multirsh("-f", "hosts.yaml", "true")
    assert "hosts.yaml:3:16: transport cannot be 'pigeon'; it is one of ssh, rsh, exec, local" in ended.err
    assert ended.code == 2
    ended = multirsh("-w", "a", "-R", "pigeon", "true")
    assert "-R/--transport: there is no transport 'pigeon'; it is one of ssh, rsh, exec, local" in ended.err
    assert ended.code == 2


def test_what_cannot_be_loaded_is_said(multirsh: Program, tmp_path: Path, target: Path) -> None:
    install(tmp_path, target, entry="pigeons:dove")
    ended = multirsh("-w", "a", "-R", "pigeon", "true")
    assert "a: the transport 'pigeon' (pigeons:dove) cannot be loaded: AttributeError: " in ended.err
    assert ended.code == 2


def test_two_of_one_name_are_none(multirsh: Program, tmp_path: Path, target: Path) -> None:
    install(tmp_path, target)
    install(tmp_path, target, name="doves")
    ended = multirsh("-w", "a", "-R", "pigeon", "true")
    assert "a: the transport 'pigeon' is in doves and pigeons; uninstall one of them" in ended.err
    assert ended.code == 2
