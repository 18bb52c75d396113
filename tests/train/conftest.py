"""What the tests of sari_train share: one tokenizer, one small model, one small corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from train_helpers import make_lm, make_processor, make_questions, save_corpus, save_small

from sari_data.types import AudioQuestion
from sari_train.models.base import AudioLM


@pytest.fixture(scope="session")
def scene_questions() -> list[AudioQuestion]:
    return make_questions()


@pytest.fixture(scope="session")
def processor(scene_questions: list[AudioQuestion]) -> Any:
    return make_processor(scene_questions)


@pytest.fixture(scope="session")
def small_lm(processor: Any) -> AudioLM:
    """Shared: a test that changes weights makes its own with make_lm."""
    return make_lm(processor)


@pytest.fixture(scope="session")
def small_folder(processor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(processor, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_corpus(scene_questions: list[AudioQuestion], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_corpus(scene_questions, tmp_path_factory.mktemp("data") / "corpus")
