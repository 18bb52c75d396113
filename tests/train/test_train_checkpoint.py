"""A run's folder: what lies in it, which checkpoints stay, what is published, what is refused, what is never opened."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_helpers import make_lm

from sari_data.errors import CheckpointError, StorageError
from sari_train.checkpoint import RunState, finished, open_run, recipe_hash, save_run
from sari_train.config import Grpo, Lora, RolloutEngine, Sft
from sari_train.lora import add_lora
from sari_train.models.load import load_model
from sari_train.optim import make_optimizer
from sari_train.publication import cut_lines
from sari_train.run_folder import list_checkpoints
from sari_train.sft import train_sft
from sari_train.state_io import capture_rng, load_optimizer_state, read_state, restore_rng


@pytest.fixture
def table(small_folder: Path, small_corpus: Path, tmp_path: Path) -> Sft:
    return Sft(
        model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / "run"), mode="direct", steps=4,
        batch_size=2, save_every=2, warmup_steps=0,
    )  # fmt: skip


class Loop:
    """A training loop without training: each step adds one to a weight and saves."""

    def __init__(self, table: Sft, fingerprint: str = "f", **options: Any) -> None:
        self.table, self.fingerprint = table, fingerprint
        self.lm = load_model(table.model)
        if table.lora is not None:
            add_lora(self.lm, table.lora, seed=0)
        self.run: RunState = open_run(self.lm, table, "sft", fingerprint, **options)
        self.optimizer = make_optimizer(self.lm, table)
        if self.run.optimizer is not None:
            load_optimizer_state(self.optimizer, self.lm.model, self.run.optimizer)
        self.step = self.run.step

    def weight(self) -> torch.Tensor:
        return next(p for n, p in self.lm.model.named_parameters() if p.requires_grad and p.dim() == 2)

    def take(self, accuracy: float | None = None, **options: Any) -> Path:
        for weight in self.lm.model.parameters():
            weight.grad = torch.ones_like(weight) if weight.requires_grad else None
        self.optimizer.step()
        self.step += 1
        with Path(self.table.out, "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps({"step": self.step, "loss": 1.0}) + "\n")
        metrics = {} if accuracy is None else {"eval_accuracy": accuracy}
        return save_run(
            self.lm, self.optimizer, self.table.out, step=self.step, fingerprint=self.fingerprint,
            metrics=metrics, keep=self.table.keep, **options,
        )  # fmt: skip


def steps(out: str | Path) -> list[int]:
    return [checkpoint.step for checkpoint in list_checkpoints(Path(out))]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_a_run_leaves(table: Sft) -> None:
    train_sft(table)
    out = Path(table.out)
    step = out / "checkpoints" / "step-00000004"
    model = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "processor_config.json"}
    assert model | {"README.md", "manifest.json", "recipe.json", "training"} <= {p.name for p in step.iterdir()}
    assert {p.name for p in (step / "training").iterdir()} == {"state.safetensors", "state.json"}
    assert model | {"README.md", "manifest.json", "recipe.json", "metrics.jsonl"} <= {p.name for p in out.iterdir()}
    assert "training" not in {p.name for p in out.iterdir()}
    for name in model:
        assert (out / name).read_bytes() == (step / name).read_bytes()
    manifest = json.loads((step / "manifest.json").read_text())
    assert manifest["step"] == 4
    assert set(manifest["files"]) == {n for n in files(step) if n != "manifest.json"}
    assert all((step / name).stat().st_size == entry["bytes"] for name, entry in manifest["files"].items())
    assert not [p for p in out.rglob("*") if p.suffix in (".pt", ".bin", ".pkl", ".pth")]
    assert not [p.name for p in out.rglob(".*")], "nothing hidden stays behind"
    for folder in (out, step):
        loaded = load_model(str(folder)).model.state_dict()
        other = load_model(table.model).model.state_dict()
        assert torch.equal(loaded["lm_head.weight"], load_model(str(step)).model.state_dict()["lm_head.weight"])
        assert not torch.equal(loaded["lm_head.weight"], other["lm_head.weight"])


def test_weights_at_the_top_take_no_room_and_texts_are_apart(table: Sft) -> None:
    step = Loop(table).take()
    out = Path(table.out)
    assert (out / "model.safetensors").samefile(step / "model.safetensors")
    assert not (out / "config.json").samefile(step / "config.json")
    (out / "config.json").write_text((out / "config.json").read_text() + " ")  # somebody edits it
    assert Loop(table).step == 1


def test_a_file_system_without_links_gets_copies(table: Sft, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    step = Loop(table).take()
    out = Path(table.out)
    assert not (out / "model.safetensors").samefile(step / "model.safetensors")
    assert (out / "model.safetensors").read_bytes() == (step / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("keep", "accuracies", "left", "best"),
    [
        (1, [None, None, None], [3], None),
        (2, [None, None, None, None], [3, 4], None),
        (1, [0.5, 0.9, 0.7, None], [2, 4], 2),
        (1, [0.5, 0.9, 0.9], [2, 3], 2),  # of equal ones the earlier
        (2, [0.1, 0.2, 0.3, 0.4], [3, 4], 4),
        (2, [0.9, 0.1, None, 0.3], [1, 3, 4], 1),
        (9, [0.0, None], [1, 2], 1),
    ],
)
def test_the_newest_and_the_best_are_kept(
    table: Sft, keep: int, accuracies: list[float | None], left: list[int], best: int | None
) -> None:
    table = table.model_copy(update={"keep": keep})
    loop = Loop(table)
    for accuracy in accuracies[:2]:
        loop.take(accuracy)
    loop = Loop(table)  # the best outlives the process that found it
    for accuracy in accuracies[2:]:
        loop.take(accuracy)
    assert steps(table.out) == left
    file = Path(table.out, "best.json")
    assert file.is_file() == (best is not None)
    run = Loop(table).run
    assert run.best == (None if best is None else (best, accuracies[best - 1]))
    if best is not None:
        told = json.loads(file.read_text())
        assert told == {
            "step": best,
            "eval_accuracy": accuracies[best - 1],
            "checkpoint": f"checkpoints/step-{best:08d}",
        }
        load_model(str(Path(table.out, told["checkpoint"])))


def test_state_and_weights_come_back(table: Sft) -> None:
    loop = Loop(table)
    assert loop.run == RunState()
    for _ in range(2):
        extra = {"curriculum": {"seen": [1, 2, 3], "scale": float("inf")}, "mean": torch.tensor([0.5])}
        loop.take(0.25, extra=extra, rng=[capture_rng(), {"torch": torch.get_rng_state()}])
    again = Loop(table)
    assert again.step == 2
    assert again.run.extra["curriculum"] == {"seen": [1, 2, 3], "scale": float("inf")}
    assert torch.equal(again.run.extra["mean"], torch.tensor([0.5]))
    assert len(again.run.rng) == 2
    assert restore_rng(again.run.rng, 0)
    for (name, a), (_, b) in zip(loop.lm.model.named_parameters(), again.lm.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    loop.take()
    again.take()
    assert torch.equal(loop.weight(), again.weight())


def test_adapters_come_back(table: Sft) -> None:
    table = table.model_copy(update={"lora": Lora(rank=2)})
    loop = Loop(table)
    step = loop.take()
    assert (step / "adapter_model.safetensors").is_file()
    assert not (step / "model.safetensors").exists()
    assert not Path(table.out, "config.json").exists()
    again = Loop(table)
    assert again.step == 1
    assert torch.equal(loop.weight(), again.weight())
    assert load_model(table.out).model is not None


def test_gathered_weights_and_state_are_written_as_given(table: Sft) -> None:
    loop = Loop(table)
    loop.take()
    weights = {name: torch.full_like(t, 0.5) for name, t in loop.lm.model.state_dict().items()}
    step = save_run(
        loop.lm, None, table.out, step=7, fingerprint="f", model_state=weights,
        optimizer_state={"state": {"a.weight": {"exp_avg": torch.ones(2)}}, "param_groups": [{"params": ["a.weight"]}]},
    )  # fmt: skip
    assert all(torch.all(t == 0.5) for t in load_file(step / "model.safetensors").values())
    state = read_state(step / "training")
    assert state["step"] == 7
    assert torch.equal(state["optimizer"]["state"]["a.weight"]["exp_avg"], torch.ones(2))


def test_a_process_beside_the_main_one_reads_and_writes_nothing(table: Sft) -> None:
    first = Loop(table)
    first.take()
    out = Path(table.out)
    with (out / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 2')
    (out / "manifest.json").unlink()
    before = files(out)
    other = Loop(table, main=False)
    assert other.step == 1
    assert torch.equal(other.weight(), first.weight())
    assert files(out) == before
    shutil.rmtree(out)
    assert Loop(table, main=False).step == 0
    assert not out.exists()


def test_a_run_may_move(table: Sft, tmp_path: Path, small_folder: Path, small_corpus: Path) -> None:
    train_sft(table.model_copy(update={"save_every": 4}))
    for name, path in (("model", small_folder), ("corpus", small_corpus)):
        shutil.copytree(path, tmp_path / name)
    shutil.copytree(table.out, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    moved = {"model": str(tmp_path / "model"), "corpus": str(tmp_path / "corpus"), "out": str(tmp_path / "elsewhere")}
    assert finished(table.model_copy(update=moved))
    assert train_sft(table.model_copy(update=moved)).step == 4


def test_what_makes_a_run_the_same() -> None:
    base = Grpo()
    same = {"out": "x", "save_every": 3, "keep": 4, "report_to": ("wandb",), "preflight": False, "on_trouble": "go_on"}
    same |= {"log_completions": 5, "checkpointing": True, "device": "cpu", "model": "moved", "corpus": "moved"}
    same |= {"eval_every": 7, "reference_offload": True, "rollout": RolloutEngine(url="http://b", timeout=1.0)}
    other = {"seed": 1, "steps": 7, "micro_batch": 3, "mode": "direct", "beta": 0.1, "curriculum": "random"}
    other |= {"rollout": RolloutEngine(correction_cap=3.0), "lora": Lora(), "dtype": "bfloat16"}
    contents = {"model": "m", "corpus": "c"}
    expected = recipe_hash(base, **contents)
    for key, value in same.items():
        assert recipe_hash(base.model_copy(update={key: value}), **contents) == expected, key
    for key, value in other.items():
        assert recipe_hash(base.model_copy(update={key: value}), **contents) != expected, key
    for key in contents:
        assert recipe_hash(base, **(contents | {key: "x"})) != expected


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda step: (step / "training" / "state.json").write_text("{}"), "training/state.json has 2 bytes"),
        (lambda step: (step / "training" / "state.safetensors").unlink(), "training/state.safetensors is not there"),
        (lambda step: (step / "config.json").write_bytes((step / "config.json").read_bytes()[::-1]), "was changed"),
        (lambda step: (step / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (
            lambda step: (step / "manifest.json").write_text('{"format": 1, "format_version": 1}'),
            "none of this version",
        ),
        (
            lambda step: (step / "manifest.json").write_text(
                (step / "manifest.json").read_text().replace('"config.json"', '"../../../../config.json"')
            ),
            "is none of this version",
        ),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(table: Sft, damage: Any, said: str) -> None:
    table = table.model_copy(update={"keep": 2})
    loop = Loop(table)
    loop.take()
    newest = loop.take()
    damage(newest)
    with pytest.raises(CheckpointError, match=f"{newest} is damaged .*{said}.*: delete that folder"):
        Loop(table)
    shutil.rmtree(newest)
    assert Loop(table).step == 1, "the sentence's advice works"
    assert Loop(table, overwrite=True).step == 0


def test_a_state_of_another_shape_is_one_sentence(table: Sft) -> None:
    step = Loop(table).take()
    body = json.loads((step / "training" / "state.json").read_text())
    del body["state"]["rng"]
    (step / "training" / "state.json").write_text(json.dumps(body))
    manifest = json.loads((step / "manifest.json").read_text())
    manifest["files"]["training/state.json"] = {"bytes": (step / "training" / "state.json").stat().st_size}
    (step / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"training state .* lacks 'rng'"):
        Loop(table)


class Bomb:
    """Says when it is unpickled."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("opened",))


def test_a_pickle_is_never_opened(table: Sft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Bomb()))
    assert Path("opened").is_dir(), "the trap works"
    Path("opened").rmdir()
    step = Loop(table).take()
    for folder in (step, step / "training", Path(table.out)):
        for name in ("training_state.pt", "pytorch_model.bin", "optimizer.pkl", "state.pt", "adapter_model.bin"):
            (folder / name).write_bytes(pickle.dumps(Bomb()))
    assert Loop(table).step == 1
    load_model(table.out)
    for folder in (step, Path(table.out)):
        (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors is not there"):
        Loop(table)
    with pytest.raises(CheckpointError, match=r"pickles \(.bin, .pt\) are never opened"):
        load_model(table.out)
    assert not Path("opened").exists()


def test_a_run_of_before_is_refused_and_overwritten_on_demand(
    table: Sft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path(table.out)
    shutil.copytree(table.model, out)
    (out / "training_state.pt").write_bytes(pickle.dumps(Bomb()))
    (out / "metrics.jsonl").write_text('{"step": 1}\n')
    (out / "notes.md").write_text("promising")
    before = files(out)
    for use in (lambda: Loop(table), lambda: train_sft(table)):
        with pytest.raises(CheckpointError, match="is a pickle, which is never opened: give --overwrite") as refused:
            use()
        assert "\n" not in str(refused.value)
    assert not finished(table)
    assert files(out) == before
    assert train_sft(table.model_copy(update={"lora": Lora(rank=2)}), overwrite=True).step == 4
    names = {p.name for p in out.iterdir()}
    assert "notes.md" in names
    assert not names & {"training_state.pt", "model.safetensors", "config.json"}
    assert not Path("opened").exists()


def test_overwriting_deletes_what_the_run_wrote_and_nothing_else(table: Sft) -> None:
    train_sft(table)
    out = Path(table.out)
    (out / "notes.md").write_text("promising")
    (out / "completions").mkdir()
    (out / "completions" / "step-00000002.jsonl").write_text("{}\n")
    lora = table.model_copy(update={"lora": Lora(rank=2), "steps": 2})
    told = rf"another recipe, model or corpus \(steps = {table.steps}, now 2, lora = None, now .*\): give --overwrite"
    with pytest.raises(CheckpointError, match=told):
        train_sft(lora)
    train_sft(lora, overwrite=True)
    assert steps(out) == [2]
    names = {p.name for p in out.iterdir()}
    assert {"notes.md", "adapter_model.safetensors"} <= names
    assert not names & {"model.safetensors", "config.json", "completions"}
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_card_of_somebodys_own_is_left_alone(table: Sft) -> None:
    loop = Loop(table)
    loop.take()
    card = Path(table.out, "README.md")
    first = card.read_text()
    loop.take()
    assert "the state after 2" in card.read_text() != first
    card.write_text("# My model")
    step = loop.take()
    assert card.read_text() == "# My model"
    assert "the state after 3" in (step / "README.md").read_text()
    Loop(table, overwrite=True)
    assert card.read_text() == "# My model"


def test_a_loader_in_between_says_so(table: Sft) -> None:
    loop = Loop(table)
    with pytest.raises(CheckpointError, match="has no checkpoint yet, or is putting one there"):
        load_model(table.out)
    step = loop.take()
    out = Path(table.out)
    (out / "config.json").unlink()
    (out / "manifest.json").unlink()
    (out / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"start the run again, or name one of its checkpoints/step-\* folders"):
        load_model(table.out)
    load_model(str(step))
    assert Loop(table).step == 1  # repairs
    load_model(table.out)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", range(0, 40, 4))
def test_a_save_that_fails_leaves_a_whole_run(
    table: Sft, monkeypatch: pytest.MonkeyPatch, error: BaseException, at: int
) -> None:
    """At every fourth change of a name, copy or deletion in turn."""
    loop = Loop(table)
    loop.take()
    before = files(Path(table.out) / "checkpoints" / "step-00000001")
    count = [0]

    def failing(original: Any) -> Any:
        def change(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] == at + 1:
                raise error
            return original(*args, **kwargs)

        return change

    with monkeypatch.context() as patch:
        for module, name in ((os, "replace"), (os, "link"), (shutil, "copyfile"), (os, "unlink")):
            patch.setattr(module, name, failing(getattr(module, name)))
        # What fails while leftovers are deleted is left for the next start and stops nothing.
        with suppress(StorageError if isinstance(error, OSError) else KeyboardInterrupt):
            loop.take()
    whole = list_checkpoints(Path(table.out))
    assert whole
    if whole[0].step == 1:
        assert files(whole[0].path) == before
    again = Loop(table)
    assert again.step == whole[-1].step
    load_model(table.out)
    again.take()
    assert steps(table.out) == [again.step]
    assert not [p.name for p in Path(table.out).rglob(".*")]


@pytest.mark.parametrize("limit", [0, 10_000, 100_000, 300_000])
def test_a_disk_that_fills_leaves_the_checkpoint_before(table: Sft, limit: int) -> None:
    """Writes past the limit fail in Python's own code and in that of the libraries that are written in Rust."""
    loop = Loop(table)
    first = loop.take()
    before = files(Path(table.out))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StorageError, match=r"free some space .*the checkpoint before it is unchanged"):
            save_run(loop.lm, loop.optimizer, table.out, step=2, fingerprint="f")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(Path(table.out)) == before
    assert list_checkpoints(Path(table.out))[0].path == first


LINES = [b'{"step": %d, "loss": 0.5}\n' % n for n in range(1, 5)]


@pytest.mark.parametrize(
    ("tail", "kept"),
    [
        (b"", 4),
        (b'{"step": 5, "lo', 4),
        (b'{"step": 5}', 4),
        (b"\0\0\0\0", 4),
        (b"\0\0\0\n", 4),
        (b'{"step": 4, "x": "\xff\xfe', 4),
        (b'{"step": 4, "x": "\xff\xfe"}\n', 4),
        (b'{"step": 5, "loss": 1}\n{"step": 6}\n', 4),
        (b"[1, 2]\nnull\n{}\n", 4),
        (b'{"step": "4"}\n', 4),
    ],
)
def test_lines_after_the_checkpoint_are_cut(tmp_path: Path, tail: bytes, kept: int) -> None:
    body = b"".join(LINES[:kept])
    for name in ("metrics.jsonl", "timings.jsonl", "troubles.jsonl"):
        (tmp_path / name).write_bytes(body + tail)
    cut_lines(tmp_path, 4)
    for name in ("metrics.jsonl", "timings.jsonl", "troubles.jsonl"):
        assert (tmp_path / name).read_bytes() == body
    cut_lines(tmp_path, 2)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(LINES[:2])
    cut_lines(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_completions_after_the_checkpoint_are_cut(tmp_path: Path) -> None:
    folder = tmp_path / "completions"
    folder.mkdir()
    (folder / "step-00000002.jsonl").write_bytes(b'{"text": "a"}\n{"text": "b')
    (folder / "step-00000004.jsonl").write_bytes(b'{"text": "a"}\n')
    (folder / "all.jsonl").write_bytes(b"".join(LINES))
    (folder / "clip.wav").write_bytes(b"RIFF")
    cut_lines(tmp_path, 2)
    assert files(folder) == {
        "step-00000002.jsonl": b'{"text": "a"}\n',
        "all.jsonl": b"".join(LINES[:2]),
        "clip.wav": b"RIFF",
    }


def test_a_saved_step_can_be_saved_again(table: Sft) -> None:
    loop = Loop(table)
    loop.take()
    step = save_run(loop.lm, loop.optimizer, table.out, step=1, fingerprint="f", extra={"told": True})
    assert steps(table.out) == [1]
    assert read_state(step / "training")["extra"] == {"told": True}
    assert Loop(table).run.extra == {"told": True}


def test_a_model_made_in_memory_is_saved_without_a_run(processor: Any, tmp_path: Path) -> None:
    lm = make_lm(processor)
    save_run(lm, make_optimizer(lm, Sft()), tmp_path / "out", step=1, fingerprint="f")
    load_model(str(tmp_path / "out"))


def test_another_run_is_refused_before_the_model_is_checked(table: Sft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preflight of a large model takes a minute; that the folder is taken is known before."""
    train_sft(table)
    monkeypatch.setattr("sari_train.run.run_preflight", lambda *_, **__: pytest.fail("preflight ran"))
    with pytest.raises(CheckpointError, match=r"learning_rate = .*, now 0\.5"):
        train_sft(table.model_copy(update={"learning_rate": 0.5, "preflight": True}))
    (Path(table.out) / "recipe.json").write_text("[", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"\(see .*recipe\.json\): give --overwrite"):
        train_sft(table.model_copy(update={"learning_rate": 0.5, "preflight": True}))


def test_weights_can_be_read_by_whoever_can_read_the_rest(table: Sft) -> None:
    train_sft(table)
    usual = (Path(table.out) / "config.json").stat().st_mode
    weights = list(Path(table.out).rglob("*.safetensors"))
    assert len(weights) >= 3
    assert {path.stat().st_mode for path in weights} == {usual}
