"""A recipe as people read it: TOML text from tables, without what must stay secret."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from sari_data.errors import InputError

REMOVED = "(removed)"
_SECRET = re.compile(
    r"(api[_-]?key|access[_-]?key|token|secret|password|passwd|authorization|credentials?|bearer)$", re.IGNORECASE
)
# Of an address: a user with a password, and what stands after the question mark, where hosts take keys.
_USER, _QUERY = re.compile(r"(?<=://)[^/?#@\s]*@"), re.compile(r"(?<=\?)[^#\s]+")
_ABSOLUTE = re.compile(r"(/|~/|[A-Za-z]:[/\\])")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def redacted(value: Any) -> Any:
    """Return values without what is nobody else's business: secrets, and where on a machine something lies.

    Texts under keys such as ``api_key``, ``token`` or ``Authorization`` are taken out, and of an address user, password
    and query; of an absolute path the last part is left.
    """
    if isinstance(value, str) and "://" in value:
        return _QUERY.sub(REMOVED, _USER.sub(f"{REMOVED}@", value))
    if isinstance(value, str):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if _ABSOLUTE.match(value) else value
    if isinstance(value, Mapping):
        return {
            key: REMOVED if isinstance(inner, str) and inner and _SECRET.search(str(key)) else redacted(inner)
            for key, inner in value.items()
        }
    return [redacted(inner) for inner in value] if isinstance(value, list | tuple) else value


def to_toml(tables: Mapping[str, Any]) -> str:
    """Write tables as TOML; what is ``None`` is left out, since TOML has no word for it.

    Args:
        tables: Values as JSON has them: texts, numbers, truth values, lists and tables.

    Raises:
        InputError: A value of another kind.
    """
    lines: list[str] = []
    _write(tables, (), lines)
    return "\n".join(lines).strip("\n") + "\n" if lines else ""


def _write(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping) and value is not None}
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    if path and (plain or not inner):
        lines += ["", f"[{'.'.join(map(_key, path))}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in inner.items():
        _write(value, (*path, key), lines)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value if item is not None) + "]"
    raise InputError(f"expected a text, number, truth value, list or table in a recipe, found {type(value).__name__}")


def _text(text: str) -> str:
    # JSON's escapes are TOML's, except that TOML wants DEL escaped too; surrogate pairs would be wrong there.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
