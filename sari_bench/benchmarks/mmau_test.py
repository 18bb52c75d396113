"""MMAU test (Sakshi et al., arXiv 2410.19168): 9,000 questions whose answers are withheld.

Rows have the keys of :mod:`sari_bench.benchmarks.mmau`, without an answer or with an empty one; gamma-lab-umd/MMAU-test
on the Hub has them with the audio in ``test-audios.tar.gz``. The benchmark can be asked and submitted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.benchmarks.fields import Row
from sari_bench.benchmarks.hub import Home
from sari_bench.benchmarks.loading import Layout, load_layout
from sari_bench.benchmarks.mmau import COLUMNS, EMBEDDED, read_gold

NAME = "mmau-test"
SUMMARY = "MMAU test: 9,000 questions on sound, music and speech; their answers are withheld"
QUESTIONS = 9000
LICENCE = "Apache 2.0 (questions), MIT (the data set on the Hub); the audio has the licences of its sources"
HUB = "gamma-lab-umd/MMAU-test"
HOW_TO_GET = (
    "nothing to do: it is loaded from the Hub; or mmau-test.json and test-audios.tar.gz from "
    "github.com/Sakshi113/MMAU, given as --questions mmau-test.json --audio test-audios.tar.gz"
)


def load(questions: Path | None, audio_root: Path | None, *, audio: bool = True, **options: Any) -> Benchmark:
    """Load MMAU test; arguments and errors are those of ``load_layout`` in ``loading``."""
    file = "mmau-test.json (github.com/Sakshi113/MMAU)"
    home = Home(HUB, ("*.parquet", "*mmau-test.json", "*.json"), ("*test-audios.tar.gz", "*.tar.gz", "*.zip"), file)
    layout = Layout(NAME, "MMAU questions", home, COLUMNS, EMBEDDED, _read)
    return load_layout(layout, questions, audio_root, audio, options)


def _read(row: Row, where: str) -> Gold:
    return read_gold(row, where, "test", withheld=True)
