"""``sari-train``: supervised fine-tuning, GRPO, its memory, merging adapters, and the embedded base model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sari_data.config import DEFAULT_RECIPE, load_tables
from sari_data.console import note, out, run_app

if TYPE_CHECKING:
    from sari_train.sft import Outcome

app = typer.Typer(
    help="Train audio-language models: SFT on chains of thought, then GRPO from easy to hard.",
    no_args_is_help=True,
    add_completion=False,
)

RecipeArgument = Annotated[
    str | None, typer.Argument(metavar="[RECIPE]", help="A TOML file, or a recipe that ships with sari.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. sft.steps=100.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Start anew where the output folder is in use.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def _or_default(recipe: str | None) -> str:
    """Without a recipe take the embedded default, as `sari-data build` does, and say so: it suits a tiny model."""
    if recipe is not None:
        return recipe
    note("settings of the embedded default (recipe default, which ships with sari); a recipe of your own replaces them")
    return DEFAULT_RECIPE


@app.command()
def sft(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune on chains of thought (recipe table sft); the same command goes on after Ctrl-C."""
    from sari_train.config import Sft

    table: Sft = load_tables(_or_default(recipe), {"sft": Sft}, set_ or ())["sft"]
    from sari_train.prepare import ensure_corpus
    from sari_train.sft import train_sft

    ensure_corpus(table.corpus, recipe, set_ or ())
    _report(train_sft(table, overwrite=overwrite), as_json, "sari-train grpo")


@app.command()
def grpo(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Reinforce with group relative policy optimisation (table grpo); makes what it lacks, and says so."""
    from sari_train.config import Grpo, Sft

    tables = load_tables(_or_default(recipe), {"sft": Sft, "grpo": Grpo}, set_ or ())
    from sari_train.grpo import train_grpo
    from sari_train.prepare import ensure_corpus, ensure_warm_up

    table: Grpo = tables["grpo"]
    ensure_corpus(table.corpus, recipe, set_ or ())
    if not ensure_warm_up(table, tables["sft"]):
        raise typer.Exit(130)
    _report(train_grpo(table, overwrite=overwrite), as_json, "sari-bench report --leaderboard")


@app.command()
def plan(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda; default: the recipe's grpo.device.")] = None,
    memory: Annotated[
        float | None, typer.Option(metavar="GIB", help="Memory to fit into; default: what the device has free.")
    ] = None,
    clip_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Length of every clip; default: the corpus's longest.")
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Text of every prompt; default: the corpus's longest.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the peak memory of GRPO (table grpo) by part, and the largest group and micro-batch that fit.

    Exit code 1 where the recipe does not fit.
    """
    from sari_train.config import Grpo, Sft

    tables = load_tables(_or_default(recipe), {"sft": Sft, "grpo": Grpo}, set_ or ())
    from sari_train.plan_report import make_plan, show

    found = make_plan(
        tables["grpo"],
        tables["sft"],
        device=device,
        memory_gib=memory,
        clip_seconds=clip_seconds,
        prompt_tokens=prompt_tokens,
    )
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        show(found)
    if not found.fits:
        raise typer.Exit(1)


@app.command()
def merge(
    adapter: Annotated[str, typer.Argument(metavar="ADAPTER_OR_MODEL", help="Folder of a LoRA adapter, or a model.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the merged model.")],
    layout: Annotated[
        str, typer.Option(help="model, or of an Omni model thinker (alone, for vLLM) or full (its thinker replaced).")
    ] = "model",
    full_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Full model for layout full; default: the one trained on.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Type of the weights: float32, bfloat16 or float16.")] = "float32",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge a LoRA adapter into its base model's weights, and write the model in a layout that others open."""
    from sari_train.lora import merge as merge_adapter

    merge_adapter(adapter, output, layout=layout, full_from=full_from, dtype=dtype, overwrite=overwrite)
    _emit({"out": str(output), "layout": layout}, as_json, [f"merged model in {output}"])


@app.command()
def tiny(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the embedded base model (table tiny): one that hears, but does not reason yet."""
    from sari_train.tiny_base import Tiny, make_tiny

    table: Tiny = load_tables(recipe, {"tiny": Tiny}, set_ or ())["tiny"]
    _emit(make_tiny(table), as_json, [f"base model in {table.out}"])


def _report(outcome: Outcome, as_json: bool, then: str) -> None:
    body: dict[str, Any] = {
        "out": str(outcome.out),
        "step": outcome.step,
        "stopped": outcome.stopped,
        "metrics": outcome.metrics,
    }
    lines = [
        f"model after {outcome.step} steps: {outcome.out}",
        f"metrics and curves: {outcome.out}/metrics.jsonl and {outcome.out}/curves.png",
    ]
    if outcome.stopped:
        lines = [f"stopped after step {outcome.step}; the same command goes on from {outcome.out}"]
    else:
        lines.append(f"next: {then}")
    _emit(body, as_json, lines)
    if outcome.stopped:
        raise typer.Exit(130)


def _emit(body: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    if as_json:
        print(json.dumps(body))
        return
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True, markup=False)


def main() -> NoReturn:
    """Entry point of the ``sari-train`` command."""
    run_app(app)
