"""The command: recipes, JSON, exit codes, and what a bare command makes for itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from sari_data.store import write_corpus
from sari_data.types import AudioQuestion
from sari_train import cli, hub, prepare, sft
from sari_train.distributed import ALONE
from sari_train.rewards import REWARDS
from sari_train.run import Outcome

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def settings(small_folder: Path, small_corpus: Path) -> list[str]:
    values = [f"model={small_folder}", f"corpus={small_corpus}", "mode=direct", "steps=2", "batch_size=4"]
    return [part for value in values for part in ("--set", f"sft.{value}")]


@pytest.fixture
def grpo_settings(small_corpus: Path) -> list[str]:
    values = [f"corpus={small_corpus}", "mode=direct", "steps=2", "prompts_per_step=2", "group_size=2",
              "max_new_tokens=4"]  # fmt: skip
    return [part for value in values for part in ("--set", f"grpo.{value}")]


def test_sft_then_grpo(empty_folder: Path, run_command: Run, settings: list[str], grpo_settings: list[str]) -> None:
    code, out, err = run_command("sari-train", "sft", *settings, "--json")
    assert code == 0, err
    assert json.loads(out)["step"] == 2
    assert json.loads(out)["out"] == "checkpoints/sft"
    code, out, err = run_command("sari-train", "grpo", *settings, *grpo_settings)
    assert code == 0, err
    assert "running `sari-train sft`" not in err
    assert "next: sari-bench report --leaderboard" in out
    assert {"model.safetensors", "metrics.jsonl", "curves.png", "recipe.json", "checkpoints", "README.md"} <= {
        p.name for p in Path("checkpoints/grpo").iterdir()
    }
    assert json.loads(Path("checkpoints/grpo/recipe.json").read_text())["grpo"]["group_size"] == 2


def test_grpo_runs_the_warm_up_that_it_lacks(
    empty_folder: Path, run_command: Run, settings: list[str], grpo_settings: list[str]
) -> None:
    code, _, err = run_command("sari-train", "grpo", *settings, *grpo_settings)
    assert code == 0, err
    assert "no finished warm-up in checkpoints/sft: running `sari-train sft`" in err
    assert Path("checkpoints/sft/model.safetensors").is_file()
    assert Path("checkpoints/grpo/model.safetensors").is_file()


def test_an_absent_default_corpus_is_built(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import sari_data.build

    asked = []
    monkeypatch.setattr(sari_data.build, "build_from_recipe", lambda *given: asked.append(given))
    prepare.ensure_corpus("corpus", "spoken", ["build.seed=1"])
    assert asked == [("spoken", ["build.seed=1"])]
    assert "building it from recipe spoken" in " ".join(capfd.readouterr().err.split())
    prepare.ensure_corpus("somewhere-else", None, [])
    Path("corpus").mkdir()
    prepare.ensure_corpus("corpus", None, [])
    assert len(asked) == 1


def test_three_wrong_keys_are_named_at_once(empty_folder: Path, run_command: Run) -> None:
    Path("bad.toml").write_text("[sft]\nstep = 5\n[grpo]\nrewards = {acuracy = 1.0}\ntemperature = 0\n")
    code, out, err = run_command("sari-train", "grpo", "bad.toml")
    said = " ".join(err.split())
    assert code == 2
    assert out == ""
    assert all(
        key in said for key in ("sft.step: unknown key; did you mean steps?", "grpo.rewards", "grpo.temperature")
    )


def test_errors_of_the_user_are_one_sentence(
    empty_folder: Path, run_command: Run, settings: list[str], small_folder: Path
) -> None:
    for arguments, message in (
        (["sft", "--set", "sft.corpus=nowhere"], "nowhere"),
        (["sft", *settings, "--set", "sft.model=./nothing"], "neither 'tiny', nor a folder"),
        (["sft", *settings, "--set", "sft.mode=sung"], "sung"),
        (["merge", str(small_folder), "merged"], "adapter_config.json"),
    ):
        code, out, err = run_command("sari-train", *arguments)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith("error:")
        assert message in " ".join(err.split())
        assert not Path("checkpoints").exists()


def test_rewards_cannot_all_be_zero(empty_folder: Path, run_command: Run) -> None:
    assert {"accuracy", "format", "length", "consistency"} <= set(REWARDS)
    code, _, err = run_command("sari-train", "grpo", "--set", "grpo.rewards={accuracy=0.0}")
    assert code == 2
    assert "grpo.rewards" in err


def test_help_does_not_import_torch() -> None:
    program = (
        "import sys\nfrom sari_train.cli import app\nsys.argv = ['sari-train', '--help']\n"
        "try:\n    app()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "grpo" in done.stdout


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("sft.learning_rate=inf", "sft.learning_rate"),
        ("sft.seed=99999999999999999999", "sft.seed"),
        ("sft.out=", "sft.out"),
        ("sft.mode=[bold]sung[/]", "response mode '[bold]sung[/]'"),
        ("grpo.temperature=inf", "grpo.temperature"),
        ("grpo.temperature=1e-30", "grpo.temperature"),
        ("grpo.rewards={accuracy=nan}", "grpo.rewards.accuracy"),
        ("grpo.mode=sung", "grpo.mode"),
        ("sft.log_completions=3", "SFT samples nothing"),
        ("sft={mixed_precision='bf16', dtype='bfloat16'}", "mixed_precision bf16 is for weights in float32"),
        ("grpo.scale='beta'", "the weights of these come to 3"),
        ("grpo={scale='beta', rewards={accuracy=1.0}, beta=0.1, kl_in='reward'}", "set kl_in to loss"),
        ("grpo={temperature=2.5, rollout={engine='vllm'}}", "temperatures up to 2"),
        ("grpo=3", "grpo: expected a table"),
        ("=", "expected key=value"),
    ],
)
def test_values_that_mean_nothing_are_named(empty_folder: Path, run_command: Run, value: str, key: str) -> None:
    code, out, err = run_command("sari-train", "grpo", "--set", value)
    assert (code, out) == (2, "")
    assert key in " ".join(err.split())
    assert not any(empty_folder.iterdir())


def test_a_corpus_without_prompts(
    empty_folder: Path, run_command: Run, grpo_settings: list[str], scene_questions: list[AudioQuestion]
) -> None:
    write_corpus("no-rl", {"sft": scene_questions, "dev": []}, {}, card="A corpus for tests.")
    code, out, err = run_command("sari-train", "grpo", *grpo_settings, "--set", "grpo.corpus=no-rl")
    assert (code, out) == (2, "")
    assert "found 'rl'" in err
    assert not Path("checkpoints").exists()


@pytest.mark.parametrize(("stopped", "trouble"), [(False, None), (True, None), (False, "the loss of step 1 is nan")])
def test_only_a_run_that_is_through_is_pushed(
    monkeypatch: pytest.MonkeyPatch, stopped: bool, trouble: str | None
) -> None:
    pushed: list[Any] = []
    monkeypatch.setattr(hub, "push_run", lambda *given, **options: pushed.append(given) or "https://hub/me/run")
    outcome = Outcome(Path("out"), 1, {}, stopped, trouble)
    assert cli._pushed(outcome, "me/run", False) == (None if stopped or trouble else "https://hub/me/run")
    assert len(pushed) == (not stopped and not trouble)


def test_json_of_a_run_in_trouble_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(Path("out"), 1, {"loss": float("nan"), "reward": 1.0}, trouble="the loss of step 1 is nan")
    with pytest.raises(typer.Exit) as ended:
        cli._report(outcome, ALONE, True, "next", None, False)
    body = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (ended.value.exit_code, body["metrics"]) == (1, {"loss": None, "reward": 1.0})


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_the_command_with_130(
    empty_folder: Path, run_command: Run, settings: list[str], monkeypatch: pytest.MonkeyPatch, presses: int
) -> None:
    """Once: the step is finished and saved. Twice: at once."""
    original = sft.take_step

    def take_step(*given: Any) -> Any:
        for _ in range(presses):
            os.kill(os.getpid(), signal.SIGINT)
        return original(*given)

    with monkeypatch.context() as patch:
        patch.setattr(sft, "take_step", take_step)
        code, out, err = run_command("sari-train", "sft", *settings)
    assert code == 130
    assert "Traceback" not in err
    assert Path("checkpoints/sft/model.safetensors").exists() == (presses == 1)
    assert ("stopped after step 1" in out) == (presses == 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    code, out, _ = run_command("sari-train", "sft", *settings, "--json")
    assert (code, json.loads(out)["step"]) == (0, 2)
