"""The card of a trained model: what it is, what made it, how it learnt, how it scores, how to load it.

Everything is read from the run's folder and the corpus's manifest, so that a card can be written with every checkpoint
and once more, with the scores that have come since, when the model is pushed. What cannot be read is left out: a card
must not stop a run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sari_data.prompting import render
from sari_data.types import DOMAINS
from sari_train.run_files import CURVES, METRICS, RECIPE
from sari_train.run_folder import CARD_MARK

TEMPLATE = "cards/model.md.jinja"
BENCH = "bench"
KINDS = ("sft", "grpo")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")

_ROWS = 8
# Columns of the table, where the run has them, by what they are called there.
_COLUMNS = {
    "loss": "loss",
    "reward": "reward",
    "reward_accuracy": "accuracy",
    "reward_format": "format",
    "eval_loss": "dev loss",
    "eval_accuracy": "dev accuracy",
    "length": "tokens",
    "kl": "KL",
    "entropy": "entropy",
    "grad_norm": "gradient norm",
}


def render_card(
    out: Path,
    model: Path,
    *,
    step: int,
    repo: str | None = None,
    dataset: str | None = None,
    results: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the card (Markdown with a YAML head) of a run's model.

    Args:
        out: The run's folder, with recipe, metrics and curves.
        model: The folder with the model or adapter itself.
        step: Optimizer steps that it has done; what was logged later is left out.
        repo: Its repository on the Hub (``owner/name``); default: the run folder's name stands in its place.
        dataset: The corpus's repository on the Hub, to link to.
        results: Benchmark results, see :func:`read_results`.
    """
    kind, recipe = read_recipe(out)
    adapter = _json(model / "adapter_config.json")
    is_adapter = isinstance(adapter, dict)
    base = _base(recipe, adapter if isinstance(adapter, dict) else {})
    rows = [row for row in read_rows(out) if row["step"] <= step]
    columns, cells = _table(rows)
    corpus = _corpus(recipe)
    text = render(
        TEMPLATE,
        mark=CARD_MARK,
        name=_cell((repo or out.name).rsplit("/", 1)[-1]),
        repo=repo or f"./{out.name}",
        kind=kind,
        recipe={"steps": None, "mode": None, **recipe},
        recipe_text=json.dumps(recipe, indent=2, ensure_ascii=False),
        version=version("sari-audio"),
        step=step,
        adapter=is_adapter,
        architecture=_architecture(model, base.get("path")),
        library="peft" if is_adapter else "transformers",
        base=base,
        dataset=dataset or corpus["hub_id"],
        tags=_tags(kind, recipe, is_adapter),
        best=_best(rows),
        corpus=corpus,
        prompt=_prompt(recipe),
        method=_method(kind, recipe),
        columns=columns,
        rows=cells,
        logged=len(rows),
        curves=(out / CURVES).is_file(),
        results=results,
    )
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def read_recipe(out: Path) -> tuple[str, dict[str, Any]]:
    """Return which table a run's effective recipe has (``sft`` or ``grpo``), and the table; empty where unknown."""
    body = _json(out / RECIPE)
    for kind in KINDS:
        if isinstance(body, dict) and isinstance(body.get(kind), dict):
            return kind, body[kind]
    return "model", {}


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Return the steps that a run recorded; lines that are no step are left out."""
    file = out / METRICS
    rows = [_parse(line) for line in file.read_bytes().split(b"\n")] if file.is_file() else []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("step"), int)]


def read_results(out: Path) -> dict[Path, list[dict[str, Any]]]:
    """Return the benchmark results in each file that lies in a run's ``bench/``; none for a file that is another's.

    A result is what ``sari-bench score --run RUN --json`` or ``sari-bench run --json`` prints, kept as
    ``<out>/bench/<name>.json``; of several scorers, one for each.
    """
    found = {}
    for file in sorted((out / BENCH).glob("*.json")):
        body = _json(file)
        bodies = [body] if isinstance(body, dict) and "scorer" in body else []
        if isinstance(body, dict) and not bodies:
            bodies = [part for part in body.values() if isinstance(part, dict)]
        found[file] = [result for part in bodies if (result := _result(part)) is not None]
    return found


def _result(body: Mapping[str, Any]) -> dict[str, Any] | None:
    texts = [body.get(key) for key in ("scorer", "benchmark", "version")]
    if not all(isinstance(text, str) for text in texts) or not _is_number(body.get("accuracy")):
        return None
    interval = body.get("interval")
    spread = "–"
    if isinstance(interval, list) and len(interval) == 2 and all(map(_is_number, interval)):
        spread = f"{interval[0]:.2f}–{interval[1]:.2f}"
    by = body.get("by")
    tasks = by.get("task") if isinstance(by, dict) else None
    return {
        "scorer": _cell(texts[0]),
        "benchmark": _cell(texts[1]),
        "version": _cell(texts[2]),
        "n": body.get("n", "–"),
        "accuracy": body["accuracy"],
        "interval": spread,
        "tasks": [
            {"name": _cell(name), "n": part.get("n", "–"), "accuracy": part["accuracy"]}
            for name, part in (tasks.items() if isinstance(tasks, dict) else ())
            if isinstance(part, dict) and _is_number(part.get("accuracy"))
        ],
    }


def _base(recipe: Mapping[str, Any], adapter: Mapping[str, Any]) -> dict[str, Any]:
    """Where the weights come from: the start of the run, the runs before it, and the model on the Hub behind them."""
    start = str(recipe.get("model") or adapter.get("base_model_name_or_path") or "")
    name, chain, seen = start, [], set()
    while name and name not in seen and Path(name).is_dir():
        seen.add(name)
        kind, before = read_recipe(Path(name))
        if not before.get("model"):
            break
        chain.append(f"`{_cell(name)}` is a run of `sari-train {kind}` from `{_cell(before['model'])}`")
        name = str(before["model"])
    is_hub = bool(HUB_ID.fullmatch(name)) and not Path(name).exists()
    text = f"`{_cell(start)}`" if start else "not recorded"
    if start == "tiny":
        text = "`tiny`, the base model that ships with sari"
    return {"text": text, "path": start or None, "hub_id": name if is_hub else None, "chain": chain}


def _architecture(model: Path, base: str | None) -> str:
    """The class in transformers that opens the model, or an adapter's base."""
    folders = [model, *([Path(base)] if base and Path(base).is_dir() else [])]
    for folder in folders:
        config = _json(folder / "config.json")
        names = config.get("architectures") if isinstance(config, dict) else None
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0]
    adapter = _json(model / "adapter_config.json")
    mapping = adapter.get("auto_mapping") if isinstance(adapter, dict) else None
    name = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    return str(name) if name else "Qwen2AudioForConditionalGeneration"


def _corpus(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the corpus's manifest says, where it can be read."""
    place, split = str(recipe.get("corpus", "")), str(recipe.get("split", ""))
    manifest = _json(Path(place) / "manifest.json") if place else None
    manifest = manifest if isinstance(manifest, dict) and manifest.get("format") == "sari-corpus" else {}
    name = _cell(manifest.get("name") or place or "not recorded")
    text = f"corpus `{name}`" + (f", split `{split}`" if split else "")
    if manifest.get("source"):
        text += f", built from the source `{_cell(manifest['source'])}` with seed {manifest.get('seed')}"
    counts = manifest.get("counts")
    known = isinstance(counts, dict) and all(
        isinstance(part, dict) and {"questions", "domains", "difficulties"} <= part.keys() for part in counts.values()
    )
    return {
        "text": text,
        "hub_id": name if HUB_ID.fullmatch(name) and not Path(name).exists() else None,
        "counts": counts if known else None,
        "domains": DOMAINS,
        "licences": {_cell(k): v for k, v in (manifest.get("licences") or {}).items()},
    }


def _prompt(recipe: Mapping[str, Any]) -> str | None:
    """A question as the model was asked in training; ``None`` where the mode is not known here."""
    from sari_data.errors import SariError
    from sari_data.prompting import render_prompt
    from sari_data.types import AudioQuestion, AudioRef

    question = AudioQuestion(
        id="example",
        audio=AudioRef(path="clip.wav"),
        question="What is heard first?",
        choices=("a dog barking", "a bell", "a car horn", "rain"),
        answer="a bell",
        domain="sound",
    )
    try:
        return render_prompt(question, str(recipe["mode"]))
    except (SariError, KeyError):
        return None


def _tags(kind: str, recipe: Mapping[str, Any], adapter: bool) -> list[str]:
    tags = ["audio", "audio-reasoning", "chain-of-thought", "sari", *([kind] if kind in KINDS else [])]
    if kind == "grpo":
        tags += ["reinforcement-learning", "curriculum-learning"]
    return [*tags, *(["lora"] if adapter or recipe.get("lora") else [])]


def _method(kind: str, recipe: Mapping[str, Any]) -> list[str]:
    """The method in a few lines, each from the recipe's own values."""

    def of(*names: str) -> str:
        return ", ".join(f"{name} {_plain(recipe[name])}" for name in names if recipe.get(name) is not None)

    if kind == "sft":
        lines = ["loss: cross-entropy of the chain, the answer and the end of the turn; the prompt is not learnt"]
        lines.append(f"data: {of('chains', 'batch_size', 'steps', 'seed')}")
    elif kind == "grpo":
        lines = [f"loss: {of('loss', 'clip_epsilon', 'clip_epsilon_high', 'updates_per_rollout')}"]
        lines.append(f"KL to the start: {of('beta', 'kl', 'kl_in')}" if recipe.get("beta") else "KL to the start: none")
        weights = recipe.get("rewards") or {}
        lines.append(f"rewards: {', '.join(f'{name} x {_plain(weight)}' for name, weight in weights.items())}")
        lines.append(f"advantages: {of('baseline', 'scale', 'mask_truncated')}")
        lines.append(f"curriculum: {of('curriculum', 'dynamic_sampling')}")
        lines.append(f"rollouts: {of('prompts_per_step', 'group_size', 'temperature', 'max_new_tokens')}")
        lines.append(f"run: {of('steps', 'seed')}")
    else:
        return ["not recorded"]
    rates = ("optimizer", "learning_rate", "warmup_steps", "schedule", "weight_decay", "grad_clip")
    lines.append(f"optimizer: {of(*rates).removeprefix('optimizer ')}")
    weights = "the audio encoder stays as it was" if recipe.get("freeze_audio") else "all weights learn"
    lora = recipe.get("lora")
    if isinstance(lora, dict):
        held = f", the rest held as {lora['quantize']}" if lora.get("quantize") else ""
        weights = f"low-rank adapters of rank {lora.get('rank')}, alpha {lora.get('alpha')}{held}"
    return [*lines, f"weights: {weights}; {of('dtype', 'mixed_precision')}"]


def _best(rows: Sequence[Mapping[str, Any]]) -> str | None:
    measured = [row for row in rows if _is_number(row.get("eval_accuracy"))]
    if not measured:
        return None
    last = measured[-1]
    best = max(measured, key=lambda row: (row["eval_accuracy"], -row["step"]))
    text = f"{100 * last['eval_accuracy']:.1f} % at step {last['step']}"
    return text + (f"; the best was {100 * best['eval_accuracy']:.1f} % at step {best['step']}" if best != last else "")


def _table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of at most eight steps, the first and the last among them; evaluated ones where there are."""
    evaluated = [row for row in rows if "eval_accuracy" in row]
    chosen = evaluated if len(evaluated) >= 2 else list(rows)
    if len(chosen) > _ROWS:
        chosen = [chosen[round(i * (len(chosen) - 1) / (_ROWS - 1))] for i in range(_ROWS)]
    names = [name for name in _COLUMNS if any(_is_number(row.get(name)) for row in chosen)]
    cells = [[str(row["step"]), *(_plain(row.get(name)) for name in names)] for row in chosen]
    return ["step", *(_COLUMNS[name] for name in names)], cells


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else _cell(value)


def _cell(value: Any) -> str:
    """Text that stays in its line and its cell of a table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _json(file: Path) -> Any:
    return _parse(file.read_bytes()) if file.is_file() else None


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
