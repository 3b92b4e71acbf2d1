"""Text made safe for HTML: the output of a host, and each of its messages, may be an attack on the reader.

Three things protect the browser. Text is escaped here, at the one place where text becomes markup. Control
and bidirectional characters are made visible, as on a terminal. And the policy of the page (CSP) names the
hashes of the one script that may run and the one style that applies, and lets nothing be loaded.

Sources: HTML Living Standard, 13.1.3 (escaping), 13.2.5.4 (what ends a script
element); Content Security Policy Level 3, 2.3.1 and 6.7.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from typing import Any, Final

from multirsh.output.escape import escape_lines, escape_text

_DANGEROUS: Final = re.compile("[<>&\u2028\u2029]")
"""Characters by which JSON within a script element could end it, or be read as something else."""


def text(words: str) -> str:
    """Escape a line of text for use between tags and in quoted attributes."""
    return html.escape(escape_text(words))


def output(data: bytes) -> str:
    """Escape the output of a host for use in ``pre``, whose first line feed a parser removes."""
    return "\n" + html.escape(escape_lines(data).decode(), quote=False)


def json_data(value: Any) -> str:
    """Write JSON for use in a script element; ``JSON.parse`` reads the same value."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _DANGEROUS.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def policy(*, style: str, script: str) -> str:
    """Write the content security policy of the page: this style, this script, and nothing from elsewhere."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
