"""``sari-train``: supervised fine-tuning, GRPO, what to check before, merging adapters, the embedded base model."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from sari_data.commands.arguments import PUSH, optional_repo
from sari_data.console import note, out, run_app

if TYPE_CHECKING:
    from sari_train.config import Sft, Training
    from sari_train.distributed import World
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
PushOption = Annotated[
    bool, typer.Option(PUSH, help="Upload the finished model: --push-to-hub [REPO]; default USER/NAME of the folder.")
]
RepoOption = Annotated[str | None, typer.Option("--repo", metavar="REPO", help="Where to upload it to.")]
PrivateOption = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def _or_default(recipe: str | None) -> str:
    """Without a recipe take the embedded default, as `sari-data build` does, and say so: it suits a tiny model."""
    from sari_data.config import DEFAULT_RECIPE

    if recipe is not None:
        return recipe
    note("settings of the embedded default (recipe default, which ships with sari); a recipe of your own replaces them")
    return DEFAULT_RECIPE


@app.command()
def sft(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
    push: PushOption = False,
    repo: RepoOption = None,
    private: PrivateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune on chains of thought (recipe table sft); the same command goes on after Ctrl-C."""
    from sari_data.config import load_tables
    from sari_train.config import Sft

    table: Sft = load_tables(_or_default(recipe), {"sft": Sft}, set_ or ())["sft"]
    target = _target(table, table, push, repo)
    from sari_train.distributed import join
    from sari_train.prepare import ensure_corpus
    from sari_train.sft import train_sft

    world = join(table.device)
    ensure_corpus(table.corpus, recipe, set_ or (), world)
    outcome = train_sft(table, overwrite=overwrite, world=world)
    _report(outcome, world, as_json, "sari-train grpo", target, private)


@app.command()
def grpo(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
    push: PushOption = False,
    repo: RepoOption = None,
    private: PrivateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Reinforce with group relative policy optimisation (table grpo); makes what it lacks, and says so."""
    from sari_data.config import load_tables
    from sari_train.config import Grpo, Sft

    tables = load_tables(_or_default(recipe), {"sft": Sft, "grpo": Grpo}, set_ or ())
    table: Grpo = tables["grpo"]
    target = _target(table, tables["sft"], push, repo)
    from sari_train.distributed import join
    from sari_train.grpo import train_grpo
    from sari_train.prepare import ensure_corpus, ensure_warm_up

    world = join(table.device)
    ensure_corpus(table.corpus, recipe, set_ or (), world)
    if not ensure_warm_up(table, tables["sft"], world):
        raise typer.Exit(130)
    outcome = train_grpo(table, overwrite=overwrite, world=world)
    _report(outcome, world, as_json, "sari-bench report --leaderboard", target, private)


@app.command()
def plan(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    for_: Annotated[Literal["sft", "grpo"], typer.Option("--for", help="Which training.")] = "grpo",
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda; default: the recipe's.")] = None,
    memory: Annotated[
        float | None, typer.Option(metavar="GIB", help="Memory to fit into; default: what the device has free.")
    ] = None,
    clip_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Length of every clip; default: the corpus's longest.")
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Text of every prompt; default: the corpus's longest.")
    ] = None,
    processes: Annotated[int, typer.Option(metavar="N", help="Processes that share the run, a device each.")] = 1,
    sharded: Annotated[
        bool, typer.Option("--sharded", help="Each holds a shard of weights, gradients and optimizer (FSDP2).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict the peak memory of GRPO or SFT by part, for one process, and the largest group and micro-batch that fit.

    Exit code 1 where the recipe does not fit.
    """
    from sari_data.config import load_tables
    from sari_train.config import Grpo, Sft

    tables = load_tables(_or_default(recipe), {"sft": Sft, "grpo": Grpo}, set_ or ())
    from sari_train.plan import Division
    from sari_train.plan_report import make_plan, show

    found = make_plan(
        tables[for_],
        tables["sft"],
        device=device,
        memory_gib=memory,
        clip_seconds=clip_seconds,
        prompt_tokens=prompt_tokens,
        division=Division(processes, sharded),
    )
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        show(found)
    if not found.fits:
        raise typer.Exit(1)


@app.command()
def preflight(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    for_: Annotated[
        Literal["sft", "grpo"] | None, typer.Option("--for", help="Check one training only; default: both.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check model, corpus and rewards before a training: batches, audio, truncation, answers, one step, memory.

    Exit code 1 where a check found a problem.
    """
    from sari_data.config import load_tables
    from sari_train.config import Grpo, Sft

    tables = load_tables(_or_default(recipe), {"sft": Sft, "grpo": Grpo}, set_ or ())
    from sari_train.preflight import preflight_recipe, show
    from sari_train.prepare import ensure_corpus

    kinds = (for_,) if for_ else ("sft", "grpo")
    for kind in kinds:
        ensure_corpus(tables[kind].corpus, recipe, set_ or ())
    reports = preflight_recipe(tables, kinds)
    passed = all(report.passed for report in reports)
    if as_json:
        print(json.dumps({"passed": passed, "reports": [report.to_json() for report in reports]}))
    else:
        for report in reports:
            show(report)
    if not passed:
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


@app.command("report")
def report_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run: the recipe's out.")],
    html: Annotated[Path | None, typer.Option(help="Where the page goes; default: RUN/report.html.")] = None,
    audio_mib: Annotated[
        float, typer.Option(min=0, metavar="MIB", help="Clips inside the page at most; the others are linked.")
    ] = 16.0,
    as_json: JsonOption = False,
) -> None:
    """Write a run as one HTML page: curves, troubles, completions to read and hear; with --json its figures.

    With --json a page is written only where --html names one.
    """
    from sari_train.report import read_run, summary
    from sari_train.report_page import write_page
    from sari_train.run_files import REPORT

    found = read_run(run)
    body = summary(found)
    if html is not None or not as_json:
        body["page"] = str(write_page(found, html or run / REPORT, audio_mib=audio_mib))
    lines = [f"{found.kind} run {run}: {body['status']}, step {found.step} of {found.steps}"]
    lines += [f"trouble at step {row.get('step')}: {row.get('message')}" for row in found.troubles]
    _emit(body, as_json, [*lines, f"page: {body.get('page')}"])


@app.command()
def push(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or one of its checkpoints/step-*.")],
    repo: Annotated[
        str | None, typer.Argument(metavar="[REPO]", help="Where to: owner/name; default USER/NAME of the folder.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The best checkpoint by dev accuracy, not the newest.")] = False,
    dataset: Annotated[
        str | None, typer.Option(metavar="REPO", help="The corpus's repository, for the card to link to.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="REPO", help="Of an adapter trained on a folder: its base on the Hub.")
    ] = None,
    private: PrivateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upload a run's model to the Hugging Face Hub, with its card, recipe, metrics, curves and benchmark results."""
    from sari_data.hub import find_repo
    from sari_train.hub import check_base, find_model, push_run

    folder, checkpoint = find_model(run, best=best)
    check_base(checkpoint.path, base)
    target = find_repo(repo, folder.name)
    note(f"pushing {run} after {checkpoint.step} steps to {target}")
    url = push_run(run, target, best=best, private=private, dataset=dataset, base=base)
    _emit({"run": str(folder), "step": checkpoint.step, "url": url}, as_json, [f"model: {url}"])


@app.command()
def tiny(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the embedded base model (table tiny): one that hears, but does not reason yet."""
    from sari_data.config import load_tables
    from sari_train.tiny_base import Tiny, make_tiny

    table: Tiny = load_tables(recipe, {"tiny": Tiny}, set_ or ())["tiny"]
    _emit(make_tiny(table), as_json, [f"base model in {table.out}"])


def _target(table: Training, sft: Sft, push: bool, repo: str | None) -> str | None:
    """The repository to push to, asked for before the work, so that what keeps it from working costs no time."""
    if not push and not repo:
        return None
    from sari_data.hub import find_repo
    from sari_train.hub import check_start

    target = find_repo(repo, Path(table.out).name)
    check_start(table, sft)
    return target


def _pushed(outcome: Outcome, target: str | None, private: bool) -> str | None:
    """Push a finished run; returns the model's address."""
    if target is None or outcome.stopped or outcome.trouble:
        return None
    from sari_train.hub import push_run

    note(f"pushing {outcome.out} to {target}")
    return push_run(outcome.out, target, private=private)


def _report(outcome: Outcome, world: World, as_json: bool, then: str, target: str | None, private: bool) -> None:
    world.leave()
    if not world.is_main:
        raise typer.Exit(1 if outcome.trouble else 130 if outcome.stopped else 0)
    url = _pushed(outcome, target, private)
    body: dict[str, Any] = {
        "out": str(outcome.out),
        "step": outcome.step,
        "stopped": outcome.stopped,
        "trouble": outcome.trouble,
        "metrics": {name: value if math.isfinite(value) else None for name, value in outcome.metrics.items()},
        "url": url,
    }
    lines = [
        f"model after {outcome.step} steps: {outcome.out}",
        f"metrics and curves: {outcome.out}/metrics.jsonl and {outcome.out}/curves.png",
    ]
    if outcome.stopped:
        lines = [f"stopped after step {outcome.step}; the same command goes on from {outcome.out}"]
    elif outcome.trouble:
        lines = [
            f"stopped after step {outcome.step}, with a checkpoint in {outcome.out}: {outcome.trouble}",
            'to go on all the same, give the same command with on_trouble = "go_on"',
        ]
    else:
        lines += [*([f"model: {url}"] if url is not None else []), f"next: {then}"]
    _emit(body, as_json, lines)
    if outcome.trouble:
        raise typer.Exit(1)
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
    run_app(app, optional_repo(sys.argv[1:]))
