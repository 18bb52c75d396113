"""The YAML head of a dataset card: what the Hub and ``datasets`` read there.

Values are written as JSON, which is YAML too: no text of a user can end a value or begin a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sari_data.errors import InputError
from sari_data.schema import features_of

# Licence names that the Hub knows, of those that audio corpora carry; any other is "other" there.
KNOWN_LICENCES = (
    "apache-2.0",
    "bsd-3-clause",
    "cc0-1.0",
    "cc-by-2.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "gpl-3.0",
    "mit",
    "odc-by",
)
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def licence_ids(licences: Iterable[str]) -> list[str]:
    """Return the Hub's ids of licences, each once and sorted; ``["other"]`` where it does not know one, or of none."""
    found = {re.sub(r"[\s_]+", "-", licence.strip().lower()) for licence in licences}
    return sorted(found) if found and found <= set(KNOWN_LICENCES) else ["other"]


def licence_lines(licences: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the head's lines about licences: ids where the Hub knows all of them, otherwise each in its own words.

    Args:
        licences: Data set to its licences to numbers of questions.
    """
    every = [licence for found in licences.values() for licence in found]
    ids = licence_ids(every)
    if ids == ["other"]:
        told = "; ".join(f"{name}: {', '.join(found)}" for name, found in licences.items() if found)
        # license_name is an id for the set of them; what each one is stands in license_details and in the card.
        named = ["license_name: per-source", f"license_details: {_value(told)}"] if told else []
        return ["license: other", *named]
    return [f"license: {ids[0]}"] if len(ids) == 1 else ["license:", *(f"- {id_}" for id_ in ids)]


def size_category(rows: int) -> str:
    """Return the Hub's size category of so many rows."""
    return next((name for bound, name in _SIZES if rows < bound), "n>1M")


def data_file_lines(splits: Sequence[str]) -> list[str]:
    """Return the head's list of data files: without it ``datasets`` would guess, and take side files for data."""
    lines = ["configs:", "- config_name: default", "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    return lines if splits else []


def dataset_info_lines(manifest: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    """Return the head's ``dataset_info``: types of the columns, and rows and bytes of the splits.

    Args:
        manifest: A whole manifest; one without its files gives no lines.
        splits: The splits that ``datasets`` loads. Bytes are those of their files; audio hardly compresses.
    """
    if not splits or "files" not in manifest:
        return []
    features = features_of(embed=manifest["embedded"], named="without_audio" in manifest)
    lines = ["dataset_info:", "  features:"]
    lines += [f"  - {_value({'name': name} | _feature(kind))}" for name, kind in features.items()]
    sizes = {split: sum(e.get("bytes", 0) for e in manifest["files"] if e["split"] == split) for split in splits}
    lines.append("  splits:")
    for split in splits:
        rows = manifest["splits"][split]["rows"]
        lines += [f"  - name: {split}", f"    num_bytes: {sizes[split]}", f"    num_examples: {rows}"]
    total = sum(sizes.values())
    return [*lines, f"  download_size: {total}", f"  dataset_size: {total}"]


def with_data_files(card: str, splits: Sequence[str]) -> str:
    """Put the list of data files into a card's head, unless that has one.

    Raises:
        InputError: The head does not end.
    """
    block = "".join(line + "\n" for line in data_file_lines(splits))
    if not card.startswith("---\n"):
        return f"---\n{block}---\n\n{card}" if block else card
    head, separator, rest = card[4:].partition("\n---")
    if not separator:
        raise InputError("the card's YAML head must end with a line '---'; found none")
    if re.search(r"^configs:", head, re.MULTILINE):
        return card
    return f"---\n{head}\n{block}---{rest}"


def with_facts(card: str, manifest: Mapping[str, Any], splits: Sequence[str]) -> str:
    """Put the data files, types and sizes of a manifest into a card's head, in place of those that it has.

    Raises:
        InputError: The head does not end.
    """
    kept, rest = [], "\n\n" + card
    if card.startswith("---\n"):
        head, separator, rest = card[4:].partition("\n---")
        if not separator:
            raise InputError("the card's YAML head must end with a line '---'; found none")
        inside = False
        for line in head.split("\n"):
            if not line.startswith((" ", "-", "\t", "#")) and line.strip():
                inside = line.startswith(("configs:", "dataset_info:"))
            kept += [] if inside else [line]
    lines = [*kept, *data_file_lines(splits), *dataset_info_lines(manifest, splits)]
    return "---\n" + "".join(line + "\n" for line in lines) + "---" + rest


def _feature(kind: Mapping[str, Any]) -> dict[str, Any]:
    """A feature in the short form that ``datasets`` writes into cards, from its long one."""
    if "_type" not in kind:
        return {"struct": [{"name": name} | _feature(inner) for name, inner in kind.items()]}
    if kind["_type"] == "Value":
        return {"dtype": kind["dtype"]}
    if kind["_type"] == "List":
        inner = _feature(kind["feature"])
        return {"list": inner.get("dtype", inner.get("struct", inner))}
    assert kind["_type"] == "Audio", f"no short form is known for {kind}"
    return {"dtype": "audio"}


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
