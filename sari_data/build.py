"""Build a corpus: collect, caption, question, clean, split and reason, calibrate, write with its card.

The stages are the functions that :func:`build` calls one after the other (``sari_data/stages.py``);
each says what it did. What is on its way lies on disk (``sari_data/scratch.py``), so memory does not
grow with the corpus. A source that knows the truth brings captions, questions and chains with it. The
split comes before the chains and the calibration, because only ``sft`` needs chains and only questions
of ``rl`` are calibrated: ``dev`` keeps the hard questions too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sari_data import stages
from sari_data.annotate import Annotate, open_askers, prompt_texts
from sari_data.calibrate import Calibrate, missing_for_local, open_calibration
from sari_data.card import render_card
from sari_data.config import DEFAULT_RECIPE, Table, load_tables
from sari_data.console import note
from sari_data.counting import Tally
from sari_data.dedup import Dedup
from sari_data.errors import InputError, RecipeError
from sari_data.funnel import Funnel
from sari_data.probing import check_responders
from sari_data.references import check_against
from sari_data.scratch import Scratch
from sari_data.sources import load_source, source_names
from sari_data.sources.audiomcq import Options as AudioMCQ
from sari_data.sources.audioset import Options as AudioSet
from sari_data.sources.avqa import Options as AVQA
from sari_data.sources.meld import Options as MELD
from sari_data.sources.musicbench import Options as MusicBench
from sari_data.sources.scenes import Options as Scenes
from sari_data.sources.table import Options as AnyTable
from sari_data.store import SPLITS, check_target, write_corpus


class Build(Table):
    """``[build]``: which questions, and how they are parted.

    Args:
        source: Where questions come from, one source or several; the options of each are the sub-table of its name.
        out: The corpus folder.
        name: The corpus's name in its card and on the Hub; absent: the folder's name.
        seed: Seed of the sources and of the split.
        sft: Questions with chains, for the warm-up.
        dev: Questions held out; ``rl`` gets the rest.
        audio: ``embed`` puts the audio into the corpus; ``paths`` keeps where it lies.
        scenes: Options of the source ``scenes``; the others likewise.
    """

    source: str | tuple[str, ...] = "scenes"
    out: str = "corpus"
    name: str | None = None
    seed: int = Field(default=0, ge=0)
    sft: int = Field(default=600, ge=0)
    dev: int = Field(default=200, ge=0)
    audio: Literal["embed", "paths"] = "embed"
    scenes: Scenes = Scenes()
    audioset: AudioSet | None = None
    musicbench: MusicBench | None = None
    meld: MELD | None = None
    avqa: AVQA | None = None
    audiomcq: AudioMCQ | None = None
    table: AnyTable | None = None

    @property
    def corpus_name(self) -> str:
        """The name, or the folder's where none is given."""
        return self.name or Path(self.out).resolve().name

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources, each once."""
        names = (self.source,) if isinstance(self.source, str) else self.source
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Plan:
    """All tables that a build reads from its recipe.

    Args:
        build: Which questions.
        calibrate: Who answers the questions of ``rl``.
        annotate: Who writes captions, questions and chains.
        dedup: What is compared with what; ``None``: nothing, which is the default where all questions are composed.
    """

    build: Build
    calibrate: Calibrate
    annotate: Annotate = field(default_factory=Annotate)
    dedup: Dedup | None = None

    @classmethod
    def load(cls, recipe: str | Path | None, overrides: Sequence[str] = ()) -> Plan:
        """Read the tables of a recipe, by default of the one called ``default``.

        Raises:
            RecipeError: With every problem of all tables; or a source's table is there and ``source`` is not.
        """
        models: dict[str, type[Table]] = {"build": Build, "annotate": Annotate, "dedup": Dedup, "calibrate": Calibrate}
        tables = load_tables(recipe or DEFAULT_RECIPE, models, overrides)
        given = tables["build"].model_fields_set
        unnamed = sorted((given & set(source_names())) - set(tables["build"].sources))
        if unnamed and "source" not in given:
            raise RecipeError(
                str(recipe), [f"build.source: not given, but [build.{unnamed[0]}] is: add source = {unnamed[0]!r}"]
            )
        composed = tables["build"].sources == ("scenes",) and tables["dedup"] == Dedup()
        return cls(tables["build"], tables["calibrate"], tables["annotate"], None if composed else tables["dedup"])

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as it is recorded: without the options of a source that is not used."""
        tables = {"build": self.build, "annotate": self.annotate, "dedup": self.dedup, "calibrate": self.calibrate}
        found = {name: table.model_dump(mode="json") for name, table in tables.items() if table is not None}
        if "scenes" not in self.build.sources:
            del found["build"]["scenes"]
        return found


def build_from_recipe(
    recipe: str | Path | None, overrides: Sequence[str] = (), *, overwrite: bool = False
) -> dict[str, Any]:
    """Build the corpus that a recipe describes, by default the one called ``default``; returns its manifest.

    Raises:
        RecipeError: With every problem of its tables.
        SariError: As :func:`build`.
    """
    return build(Plan.load(recipe, overrides), overwrite=overwrite)


def build(plan: Plan, *, overwrite: bool = False) -> dict[str, Any]:
    """Build a corpus folder; on any error nothing is left of it. A few questions at a time are in memory.

    A build that was killed is begun again by the same call and gives the same bytes; answers of a responder that
    were there are in the answer cache and are not asked for again.

    Args:
        plan: What to build.
        overwrite: Replace a corpus that is there.

    Returns:
        The manifest.

    Raises:
        InputError: A source is unknown, or has no questions, or too few for the splits.
        CorpusError: The folder holds something that may not be replaced, or is being built by another process.
        StorageError: The disk is full, or the folder cannot be written.
        ResponderError: Nobody answers any more.
    """
    table, calibration = plan.build, plan.calibrate
    target = check_target(table.out, overwrite=overwrite)
    sources = _sources(table)
    # Opened before any work is done: a model that is not there is told at once.
    responder = None if _only_the_toy(calibration, table.sources) else open_calibration(calibration)
    askers = open_askers(plan.annotate)
    check_responders([*askers.responders, responder])
    for benchmark in plan.dedup.against if plan.dedup is not None else ():
        check_against(benchmark)
    with Scratch(target) as scratch:
        funnel = Funnel()
        stages.collect(scratch, funnel, sources, table.seed)
        per_clip = 0 if askers.question is None else plan.annotate.questions_per_clip
        stages.check_enough(scratch, sft=table.sft, dev=table.dev, per_clip=per_clip)
        stages.caption(scratch, funnel, askers, plan.annotate)
        stages.question(scratch, funnel, askers, plan.annotate)
        found, groups = stages.clean(scratch, funnel, plan.dedup)
        stages.check_any(scratch, funnel)
        sizes = {"sft": table.sft, "dev": table.dev, "seed": table.seed}
        stages.split(scratch, funnel, **sizes, groups=groups, askers=askers, table=plan.annotate)
        summaries = []
        if responder is None or not len(scratch.questions("rl")):
            _tell_uncalibrated(table, calibration, asked=responder is not None)
        else:
            summaries.append(stages.rate(scratch, funnel, responder, calibration))
        about = {
            "name": table.corpus_name,
            "source": ", ".join(table.sources),
            "seed": table.seed,
            "sari_version": sari_version(),
            "contamination": found,
            "funnel": funnel.to_manifest(),
            "prompts": prompt_texts(plan.annotate),
        }
        embed = table.audio == "embed"
        return write(target, scratch, about, summaries, plan.to_json(), overwrite=overwrite, embed=embed)


def write(
    target: Path,
    scratch: Scratch,
    about: Mapping[str, Any],
    calibrations: Sequence[Mapping[str, Any]],
    recipe: Mapping[str, Any],
    *,
    overwrite: bool,
    embed: bool = True,
) -> dict[str, Any]:
    """Write what the scratch holds as a corpus folder with its card; returns the manifest.

    Args:
        target: The folder.
        scratch: The questions, assigned to their splits.
        about: The manifest's entries besides those that are counted here.
        calibrations: Summaries of the calibrations, the latest last.
        recipe: The tables that it was built with.
        overwrite: Replace a corpus that is there.
        embed: Put the audio inside.
    """
    splits = [*SPLITS, *(side for side in stages.SIDES if len(scratch.questions(side)))]
    tally = Tally(splits)
    for split in splits:
        for question in scratch.questions(split):
            tally.add(split, question)
    manifest = {
        **about,
        **tally.to_manifest(),
        "calibrated": bool(calibrations),
        "calibrations": list(calibrations),
        "recipe": dict(recipe),
    }
    whole = {split: scratch.whole(split) for split in splits}
    asides = scratch.asides()
    written = write_corpus(
        target, whole, manifest, card=render_card, overwrite=overwrite, embed=embed, set_aside=asides
    )
    rows = ", ".join(f"{split} {found['rows']:,}" for split, found in written["splits"].items())
    note(f"write: {rows} in {target}")
    return written


def sari_version() -> str:
    """Return the version of the installed distribution."""
    from importlib.metadata import version

    return version("sari-audio")


def _sources(table: Build) -> dict[str, Table]:
    """Return the options of the named sources; one whose table is absent takes its defaults."""
    found: dict[str, Table] = {}
    for name in table.sources:
        options, kind = getattr(table, name, None), load_source(name).Options
        needed = [key for key, field in kind.model_fields.items() if field.is_required()]
        if options is None and needed:
            raise InputError(
                f"source {name!r} needs the table [build.{name}] with {', '.join(needed)}; found none: "
                f"`sari-data sources {name}` shows one"
            )
        found[name] = options or kind()
    return found


def _only_the_toy(table: Calibrate, sources: Sequence[str]) -> bool:
    """Return whether nobody is named who could answer: the embedded model has only ever heard composed scenes."""
    return table.responder == "auto" and table.model is None and tuple(sources) != ("scenes",)


def _tell_uncalibrated(table: Build, calibration: Calibrate, *, asked: bool) -> None:
    lacking = missing_for_local() if calibration.responder == "auto" else []
    folder = table.out
    if _only_the_toy(calibration, table.sources):
        why = "no responder is named in [calibrate]"
    elif lacking:
        why = f"{' and '.join(lacking)} not installed"
    else:
        why = "no question in rl" if asked else "calibrate.responder is 'none'"
    note(f"calibrate: skipped ({why}); do it later with `sari-data calibrate {folder}`")
