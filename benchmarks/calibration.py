"""How many answers it takes to tell how hard each question is: adaptive sampling beside a fixed k = 8.

    python -m benchmarks.calibration                       # scenes, the embedded model: about four minutes
    python -m benchmarks.calibration --mmau ../shared/data/mmau --json

The embedded model answers each scene ``--pool`` times, with its audio and without. What is counted is how often a
method calls a question's band right:

- **replay**: half of a question's recorded answers, drawn anew in each repeat, say what its band really is; the methods
  see the other half only, in a drawn order. The truth is then itself an estimate, so that no method can reach 1.
- **simulated**: a question's recorded share of right answers is taken for its true chance; answers are drawn by it.
  Once with the shares of answers that heard the audio, and once of those that did not: another distribution of chances.

Methods: a fixed k, whose band is that of its share; a fixed k with the same posterior and predictor as adaptive
sampling; adaptive sampling at several budgets. Repeats run on all cores; two idle ones take about four minutes, most
of it for regressions. ``--questions 400 --pool 128 --repeats 5`` gives smaller errors for some five times as long.
The questions come from another seed than those that the settings (the defaults of ``[calibrate.adaptive]``) were
chosen on. With ``--mmau`` the predictor is also scored on what two public models really answered to MMAU's questions;
they answered once each, so there are no pass rates to be told there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from sari_data.calibration.bands import band_indices
from sari_data.calibration.features import Features, collect
from sari_data.calibration.posterior import Beliefs, fit_prior
from sari_data.calibration.predictor import fold_of, predict
from sari_data.calibration.report import reliability
from sari_data.calibration.sampling import sample
from sari_data.calibration.table import Adaptive
from sari_data.types import AudioQuestion, AudioRef

FIXED = (2, 4, 6, 8, 12, 16, 24, 32)
BUDGETS = (2.0, 2.5, 3.0, 3.5, 4.0, 6.0, 8.0)
REFERENCE = 8

Answers = NDArray[np.bool_]


def scenes(count: int, seed: int) -> list[AudioQuestion]:
    """Return ``count`` questions of each domain."""
    from sari_data.sources.scenes import Options, generate

    options = Options.model_validate({"questions": dict.fromkeys(("sound", "music", "speech"), count)})
    return sorted((q for q in generate(options, seed) if isinstance(q, AudioQuestion)), key=lambda q: q.id)


def record(questions: list[AudioQuestion], count: int, heard: bool) -> Answers:
    """Return which of ``count`` answers [N, count] of the embedded model to each question are right."""
    from sari_data.answers import grade
    from sari_data.prompting import render_prompt
    from sari_data.responder import Request, Sampling
    from sari_train.responder import LocalResponder

    rows = {q.id: row for row, q in enumerate(questions)}
    found = np.zeros((len(questions), count), dtype=bool)
    requests = (Request(q.id, q.audio if heard else None, render_prompt(q, "direct"), count) for q in questions)
    for response in LocalResponder("tiny").respond(requests, Sampling(temperature=1.0, seed=1)):
        row = rows[response.request_id]
        right = grade(response.text, questions[row], finish_reason=response.finish_reason).correct
        found[row, response.sample] = right
    return found


def adaptive(answers_NA: Answers, features: Features, folds_N: Any, budget: float) -> tuple[Any, float]:
    """Return each question's band by adaptive sampling, and the mean number of answers that it took."""

    def ask(wanted_N: Any, first_N: Any) -> Any:
        upto_NA = np.cumsum(answers_NA, axis=1)
        padded_NA = np.concatenate([np.zeros((len(answers_NA), 1), dtype=upto_NA.dtype), upto_NA], axis=1)
        rows = np.arange(len(answers_NA))
        return padded_NA[rows, first_N + wanted_N] - padded_NA[rows, first_N]

    found = sample(ask, features, folds_N, Adaptive(budget=budget))
    return found.beliefs.masses().argmax(-1), float(found.samples_N.mean())


def same_belief(answers_NA: Answers, features: Features, folds_N: Any) -> Any:
    """Return each question's band by a fixed number of answers and the posterior of adaptive sampling."""
    passes_N = answers_NA.sum(1)
    failures_N = answers_NA.shape[1] - passes_N
    scores_N = predict(features, passes_N, failures_N, folds_N)
    prior = fit_prior(scores_N, passes_N, failures_N, folds_N)
    return Beliefs(prior.weights_NK, passes_N, failures_N).masses().argmax(-1)


def compare(draw: Any, features: Features, folds_N: Any, repeats: int) -> dict[str, Any]:
    """Return the curves of all methods: mean answers a question against the share of bands called right.

    Args:
        draw: Takes the repeat's number; returns the true bands [N] and the answers [N, at least 32] of that repeat.
        features: What the predictor goes by.
        folds_N: The part that each question is in.
        repeats: How often.
    """
    import joblib

    found: dict[str, dict[float, list[tuple[float, float]]]] = {"fixed": {}, "fixed_same_belief": {}, "adaptive": {}}
    work = (joblib.delayed(_one_repeat)(draw, features, folds_N, repeat) for repeat in range(repeats))
    for points in joblib.Parallel(-1)(work):
        for method, setting, asked, accuracy in points:
            found[method].setdefault(setting, []).append((asked, accuracy))
    curves = {
        name: [
            {
                "answers": round(float(np.mean([a for a, _ in runs])), 2),
                "accuracy": round(float(np.mean([b for _, b in runs])), 4),
                "error": round(float(np.std([b for _, b in runs], ddof=1) / len(runs) ** 0.5), 4),
            }
            for runs in method.values()
        ]
        for name, method in found.items()
    }
    goal = next(point["accuracy"] for point in curves["fixed"] if point["answers"] == REFERENCE)
    needed = answers_for(curves["adaptive"], goal)
    return {
        "curves": curves,
        "accuracy_of_8": goal,
        "answers_needed": None if needed is None else round(needed, 2),
        "times_fewer": None if needed is None else round(REFERENCE / needed, 2),
    }


def _one_repeat(draw: Any, features: Features, folds_N: Any, repeat: int) -> list[tuple[str, float, float, float]]:
    """Return of each method: its name, its setting, the mean answers a question, the share of bands called right."""
    found: list[tuple[str, float, float, float]] = []
    truth_N, answers_NA = draw(repeat)
    for k in FIXED:
        bands_N = band_indices(answers_NA[:, :k].mean(1))
        found.append(("fixed", k, k, float(np.mean(bands_N == truth_N))))
    for k in (2, 4, 8):
        bands_N = same_belief(answers_NA[:, :k], features, folds_N)
        found.append(("fixed_same_belief", k, k, float(np.mean(bands_N == truth_N))))
    for budget in BUDGETS:
        bands_N, asked = adaptive(answers_NA, features, folds_N, budget)
        found.append(("adaptive", budget, asked, float(np.mean(bands_N == truth_N))))
    return found


def answers_for(curve: list[dict[str, Any]], goal: float) -> float | None:
    """Return from how many answers on the curve stays at ``goal`` or above; ``None`` where it ends below."""
    points = [(point["answers"], point["accuracy"]) for point in curve]
    if points[-1][1] < goal:
        return None
    above = points[-1]
    for below in reversed(points[:-1]):
        if below[1] < goal:
            return below[0] + (goal - below[1]) / (above[1] - below[1]) * (above[0] - below[0])
        above = below
    return above[0]


def replayed(answers_NA: Answers) -> Any:
    """Truth from one half of the recorded answers; the methods get the other."""

    def draw(repeat: int) -> tuple[Any, Answers]:
        mixed_NA = np.random.default_rng([repeat, 7]).permuted(answers_NA, axis=1)
        half = answers_NA.shape[1] // 2
        return band_indices(mixed_NA[:, :half].mean(1)), mixed_NA[:, half:]

    return draw


def simulated(answers_NA: Answers) -> Any:
    """The recorded share is the true chance; answers are drawn by it."""
    chances_N = answers_NA.mean(1)

    def draw(repeat: int) -> tuple[Any, Answers]:
        uniforms_NA = np.random.default_rng([repeat, 8]).random((len(chances_N), 64))
        return band_indices(chances_N), uniforms_NA < chances_N[:, None]

    return draw


def predictor_on_mmau(folder: Path) -> dict[str, Any]:
    """Score the predictor, by text alone, on what public models answered to MMAU test-mini."""
    from sari_data.answers import grade

    rows = json.loads((folder / "mmau-test-mini.v03.25.25.json").read_text(encoding="utf-8"))
    questions = {}
    for row in rows:
        if row["answer"] in row["choices"]:
            questions[row["id"]] = AudioQuestion(
                id=row["id"],
                audio=AudioRef(path=row["audio_id"]),
                question=row["question"],
                choices=tuple(row["choices"]),
                answer=row["answer"],
                domain=row["task"],
                category=_text(row["category"]),
                sub_category=_text(row["sub-category"]),
            )
    places = {id_: at for at, id_ in enumerate(sorted(questions))}
    features = collect(questions.values(), places, sound=False)
    folds_N = fold_of([bytes.fromhex(questions[id_].audio.key) for id_ in places], 0)
    found = {}
    for file in sorted((folder / "predictions").glob("*.json")):
        passes_N = np.zeros(len(places), dtype=np.int64)
        for row in json.loads(file.read_text(encoding="utf-8")):
            if row["id"] in places and row["model_prediction"]:
                text_ = f"<answer>{row['model_prediction']}</answer>"
                passes_N[places[row["id"]]] = grade(text_, questions[row["id"]]).correct
        scores_N = predict(features, passes_N, 1 - passes_N, folds_N)
        found[file.stem] = reliability(scores_N, scores_N, passes_N, 1 - passes_N)
    return found


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " ".join(value)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=200, help="of each of the three domains")
    parser.add_argument("--pool", type=int, default=64, help="recorded answers to each question; at least 64")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--seed", type=int, default=6, help="of the scenes; the settings were chosen on 5")
    parser.add_argument("--mmau", type=Path, help="a folder with MMAU's questions and predictions")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.pool < 64:
        parser.error("--pool must be at least 64: half of it says what is true, and a fixed 32 is drawn from the rest")
    if arguments.repeats < 2:
        parser.error("--repeats must be at least 2, for a standard error")
    questions = scenes(arguments.questions, arguments.seed)
    features = collect(questions, {q.id: row for row, q in enumerate(questions)})
    folds_N = fold_of([bytes.fromhex(q.audio.key) for q in questions], 0)
    own_NA, unheard_NA = (record(questions, arguments.pool, heard) for heard in (True, False))
    parts = {"replay": replayed(own_NA), "simulated": simulated(own_NA), "simulated, unheard": simulated(unheard_NA)}
    report: dict[str, Any] = {
        "machine": machine.describe(),
        "command": machine.command(),
        "questions": len(questions),
        "bands": {
            "heard": np.bincount(band_indices(own_NA.mean(1)), minlength=5).tolist(),
            "unheard": np.bincount(band_indices(unheard_NA.mean(1)), minlength=5).tolist(),
        },
        **{name: compare(draw, features, folds_N, arguments.repeats) for name, draw in parts.items()},
    }
    if arguments.mmau:
        report["mmau"] = predictor_on_mmau(arguments.mmau)
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    print(machine.line(report["command"]))
    print(f"{len(questions)} scenes; never, hard, medium, easy, always: {report['bands']}")
    for name in parts:
        part = report[name]
        print(f"\n{name}: answers a question -> share of bands called right (standard error over repeats)")
        for method, curve in part["curves"].items():
            print(f"  {method:18}", "  ".join(f"{p['answers']:g}: {p['accuracy']:.3f} ({p['error']})" for p in curve))
        needed = f"{part['answers_needed']}, {part['times_fewer']} times fewer"
        print(f"  as right as k = 8 ({part['accuracy_of_8']:.3f}): {needed}")
    for model, found in report.get("mmau", {}).items():
        print(f"MMAU, {model}: Brier {found['brier']}, of the mean alone {found['brier_of_mean']}")


if __name__ == "__main__":
    main()
