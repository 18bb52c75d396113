"""Where checkpoints may go, and what becomes of what lies there: nobody's files are lost, whatever fails."""

from __future__ import annotations

import gc
import json
import os
import weakref
from pathlib import Path
from typing import Any

import pytest

from sari_data.errors import CheckpointError, InputError, SariError, StorageError
from sari_data.types import AudioQuestion, Reasoning
from sari_train import checkpoint, prepare, run
from sari_train.checkpoint import corpus_hash, finished, replace_folder
from sari_train.config import Grpo, Sft
from sari_train.lora import merge
from sari_train.progress import read_metrics
from sari_train.run_folder import list_checkpoints
from sari_train.sft import train_sft
from sari_train.state_io import read_state, write_state


@pytest.fixture
def table(small_folder: Path, small_corpus: Path, tmp_path: Path) -> Sft:
    return Sft(
        model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / "sft"), mode="direct", steps=4,
        batch_size=2, save_every=2, warmup_steps=0,
    )  # fmt: skip


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_never_replaced(table: Sft, overwrite: bool) -> None:
    out = Path(table.out)
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    (out / "recipe.json").write_text("{}")  # benchmark runs have one too
    with pytest.raises(CheckpointError, match="left alone"):
        train_sft(table, overwrite=overwrite)
    assert {p.name for p in out.iterdir()} == {"thesis.tex", "recipe.json"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("what", ["working folder", "model", "corpus"])
def test_out_is_not_what_the_run_reads(
    table: Sft, what: str, overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "deeper")
    outs = {"working folder": "..", "model": table.model, "corpus": table.corpus}
    with pytest.raises(CheckpointError, match=f"is or holds the {what}"):
        train_sft(table.model_copy(update={"out": outs[what]}), overwrite=overwrite)
    assert (Path(table.model) / "model.safetensors").is_file()
    assert (Path(table.corpus) / "manifest.json").is_file()
    assert not (tmp_path / "here" / "recipe.json").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_out_is_a_file(table: Sft, overwrite: bool) -> None:
    Path(table.out).write_text("a letter")
    with pytest.raises(CheckpointError, match="is a file"):
        train_sft(table, overwrite=overwrite)
    assert Path(table.out).read_text() == "a letter"


def test_notes_beside_a_checkpoint_outlive_the_next_one(table: Sft, monkeypatch: pytest.MonkeyPatch) -> None:
    original = checkpoint.save_run

    def save_and_write(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        Path(table.out, "notes.md").write_text("promising") if kwargs["step"] == 2 else None

    monkeypatch.setattr("sari_train.run.save_run", save_and_write)
    assert train_sft(table).step == 4
    assert Path(table.out, "notes.md").read_text() == "promising"
    assert finished(table)
    assert sorted(p.name for p in Path(table.out).parent.iterdir()) == ["sft"]


def test_out_may_be_a_link(table: Sft, tmp_path: Path) -> None:
    (tmp_path / "big-disk").mkdir()
    Path(table.out).symlink_to(tmp_path / "big-disk")
    assert train_sft(table).step == 4  # two checkpoints
    assert train_sft(table.model_copy(update={"steps": 2}), overwrite=True).step == 2
    assert Path(table.out).is_symlink()
    assert (tmp_path / "big-disk" / "model.safetensors").is_file()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", ["fill", "second rename"])
def test_a_swap_that_fails_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, at: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "weights").write_text("old")
    original = os.replace

    def rename(source: Any, target: Any) -> None:
        if at == "second rename" and Path(source).name == ".out.new":
            raise error
        original(source, target)

    def fill(fresh: Path) -> None:
        (fresh / "weights").write_text("new")
        if at == "fill":
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", rename)
        with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt):
            replace_folder(out, fill)
    assert (out / "weights").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_half_a_line_of_metrics_is_dropped(table: Sft) -> None:
    train_sft(table)
    before = read_metrics(table.out)
    with Path(table.out, "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 5, "lo')
    train_sft(table)
    assert read_metrics(table.out) == before


def test_chains_that_changed_are_another_run(scene_questions: list[AudioQuestion]) -> None:
    first = scene_questions[0]
    changed = [first.replace(reasoning=Reasoning(unstructured="Another chain.")), *scene_questions[1:]]
    assert changed[0].id == first.id
    assert corpus_hash(changed) != corpus_hash(scene_questions) == corpus_hash(list(scene_questions))


def test_merging_leaves_other_folders_alone(tmp_path: Path, small_folder: Path) -> None:
    adapter, target = tmp_path / "adapter", tmp_path / "target"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="left alone"):
        merge(str(adapter), target, overwrite=True)
    with pytest.raises(CheckpointError, match="is a file"):
        merge(str(adapter), target / "thesis.tex", overwrite=True)
    assert (target / "thesis.tex").read_text() == "years of work"


def test_what_grpo_would_refuse_is_refused_before_the_warm_up(
    table: Sft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "train_sft", lambda table: pytest.fail("the warm-up ran"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    good = Grpo(model=table.out, corpus=table.corpus, out=str(tmp_path / "grpo"))
    for change, message in (
        ({"split": "nowhere"}, "nowhere"),
        ({"split": "dev"}, "no questions to train on"),
        ({"out": str(tmp_path / "mine")}, "left alone"),
    ):
        with pytest.raises(SariError, match=message):
            prepare.ensure_warm_up(good.model_copy(update=change), table)


def test_the_warm_ups_model_is_gone_when_grpo_loads_its_own(
    table: Sft, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[weakref.ref[object]] = []
    original = run.make_optimizer

    def make(lm: Any, table: Any) -> Any:
        made = original(lm, table)
        kept.extend(map(weakref.ref, (lm, made)))
        return made

    monkeypatch.setattr(run, "make_optimizer", make)
    asked = Grpo(model=table.out, corpus=str(small_corpus), mode="direct", out=str(tmp_path / "grpo"))
    gc.disable()
    try:
        assert prepare.ensure_warm_up(asked, table)
        assert [found() is None for found in kept] == [True, True]
    finally:
        gc.enable()


def test_a_finished_warm_up_of_another_recipe_is_used_and_told(
    table: Sft, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_sft(table)
    monkeypatch.setattr(prepare, "train_sft", lambda table: pytest.fail("the warm-up ran"))
    grpo = Grpo(model=table.out, corpus=table.corpus)
    assert prepare.ensure_warm_up(grpo, table)
    assert capsys.readouterr().err.count("was made with") == 0
    assert prepare.ensure_warm_up(grpo, table.model_copy(update={"learning_rate": 0.25}))
    assert f"was made with learning_rate = {table.learning_rate}" in capsys.readouterr().err.replace("\n", " ")
    assert prepare.ensure_warm_up(grpo, table.model_copy(update={"save_every": 77}))
    assert capsys.readouterr().err.count("was made with") == 0, "what does not change the result is no other warm-up"
    (Path(table.out) / "recipe.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        prepare.ensure_warm_up(grpo, table)


def test_evaluation_needs_dev_questions(table: Sft) -> None:
    with pytest.raises(InputError, match=r"split 'dev' of corpus .* is empty"):
        train_sft(table.model_copy(update={"eval_every": 1}))
    assert not Path(table.out).exists()


def test_a_run_that_is_through_is_not_checked_anew(table: Sft, monkeypatch: pytest.MonkeyPatch) -> None:
    train_sft(table)

    def check(*given: object, **options: object) -> None:
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(run, "check_lengths", check)
    monkeypatch.setattr(run, "run_preflight", check)
    again = table.model_copy(update={"preflight": True})
    assert train_sft(again).step == table.steps
    with pytest.raises(AssertionError):
        train_sft(again, overwrite=True)


def test_other_processes_than_the_checkpoints_are_told(table: Sft, capsys: pytest.CaptureFixture[str]) -> None:
    train_sft(table)
    (newest,) = list_checkpoints(Path(table.out))
    state = read_state(newest.path / "training")
    train_sft(table)
    assert "not to the last digit" not in capsys.readouterr().err
    write_state(newest.path / "training", state | {"rng": state["rng"] * 2})
    manifest = newest.manifest | {"files": {}}
    (newest.path / "manifest.json").write_text(json.dumps(manifest))
    train_sft(table)
    assert "of 2 processes and here are 1: the run goes on, but not to the last digit" in " ".join(
        capsys.readouterr().err.split()
    )
