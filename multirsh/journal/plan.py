"""What a run was to do, as its record says it: whether that can be what we have written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_texts_by_word(value: object) -> bool:
    return isinstance(value, dict) and all(_is_texts(texts) for texts in value.values())


_KINDS: Final[Mapping[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("kind", "command", "cwd", "sudo", "script", "stdin", "resumes", "reruns"), _is_text),
    **dict.fromkeys(("template", "tty"), _is_flag),
    **dict.fromkeys(("copy", "env", "hosts"), _is_texts),
    "before": _is_texts_by_word,
    "reached": _is_object,
}


def odd_key(plan: Mapping[str, Any]) -> str | None:
    """The first key under which something stands that cannot; ``None`` if there is none.

    Keys of nobody's are passed over: a library's caller may have some.
    """
    for key, is_right in _KINDS.items():
        if plan.get(key) is not None and not is_right(plan[key]):
            return key
    return None
