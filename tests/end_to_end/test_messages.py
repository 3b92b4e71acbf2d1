"""The help, the errors and the summaries that users see most are those of ``messages.txt``: read it aloud.

``MULTIRSH_WRITE_MESSAGES=1`` writes the file anew, for a reader of the diff.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from tests.program import Program

FILE: Final = Path(__file__).with_name("messages.txt")
PROMPT: Final = "$ "

HOSTS: Final = "hosts: [web1, web2, db1]\ngroups: {web: {hosts: ['web[1-2]']}}\n"


def test_what_users_see_most_is_as_the_file_has_it(multirsh: Program) -> None:
    multirsh.environ["COLUMNS"] = "80"
    (multirsh.home / "hosts.yaml").write_text(HOSTS)
    (multirsh.home / "input").write_text("data")
    said: list[str] = []
    lines = [line for line in FILE.read_text().splitlines() if line.startswith(PROMPT)]
    for line in lines:
        ended = multirsh.shell(line.removeprefix(PROMPT))
        text = re.sub(r"in [\d.]+ (ms|s)\b", "in 0.1 s", ended.out + ended.err)
        text = re.sub(r"\d{8}T\d{6}-[0-9a-f]{6}", "RUN", text.replace(str(multirsh.home), "~"))
        rows = [row.rstrip() for row in text.splitlines()]
        said.append("\n".join([line, *rows, f"exit code {ended.code}", ""]))
    if os.environ.get("MULTIRSH_WRITE_MESSAGES"):
        FILE.write_text("\n".join(said))
    assert lines
    assert "\n".join(said) == FILE.read_text()
