"""How a file of published rows that is not in order is refused, for the tests of reading them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sari_bench.published import read_published
from sari_data.errors import BenchmarkError


def refusal(path: Path, text: str) -> str:
    """Write a file of published rows, and return the sentence with which it is refused."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchmarkError) as error:
        read_published(path)
    return str(error.value)
