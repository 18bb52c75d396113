"""The pipeline: splits by clip, calibration of rl alone, a manifest that adds up, and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sari_data.build import Build, Plan, build, build_from_recipe
from sari_data.calibrate import Calibrate
from sari_data.card import render_card
from sari_data.counting import count
from sari_data.errors import CorpusError, InputError, SariError
from sari_data.recalibrate import recalibrate
from sari_data.sources.scenes import Options, generate
from sari_data.stages import NEVER_PASSED
from sari_data.store import check_corpus, read_manifest, read_split
from sari_data.types import AudioQuestion, Reasoning, StructuredReasoning

SMALL = {"sound": 10, "music": 10, "speech": 10}
CHAINS = Reasoning(structured=StructuredReasoning("p", "c", "r", "s"), unstructured="t")


def table(folder: Path, **changes: object) -> Build:
    options = {"out": str(folder), "seed": 5, "sft": 6, "dev": 3, "scenes": {"questions": SMALL}}
    return Build.model_validate(options | changes)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus that is not calibrated; tests only read it."""
    folder = tmp_path_factory.mktemp("plain") / "small corpus"
    build(Plan(table(folder), Calibrate(responder="none")))
    return folder


def record(folder: Path, path: Path, right: dict[str, int], samples: int = 2) -> Calibrate:
    """Write recorded answers, right in the first ``right[id]`` samples (by default all); returns the table for them."""
    lines = []
    for split in ("rl", NEVER_PASSED):
        if split not in read_manifest(folder)["splits"]:
            continue
        for question in read_split(folder, split):
            wrong = next(c for c in question.choices if c != question.answer)
            for sample in range(samples):
                text = question.answer if sample < right.get(question.id, samples) else wrong
                lines.append(json.dumps({"id": question.id, "sample": sample, "text": f"<answer>{text}</answer>"}))
    path.write_text("\n".join(lines), encoding="utf-8")
    return Calibrate(responder="scripted", samples=samples, options={"path": str(path), "name": "recorded"})


def test_a_corpus_is_complete_sound_and_split_as_asked(plain: Path) -> None:
    assert check_corpus(plain) == []
    manifest = read_manifest(plain)
    assert {split: found["rows"] for split, found in manifest["splits"].items()} == {"sft": 6, "rl": 21, "dev": 3}
    assert manifest["counts"]["sft"]["domains"] == {"sound": 2, "music": 2, "speech": 2}
    assert manifest["counts"]["dev"]["domains"] == {"sound": 1, "music": 1, "speech": 1}
    for split in ("sft", "rl", "dev"):
        assert manifest["counts"][split] == count(read_split(plain, split))
    assert (manifest["name"], manifest["source"], manifest["seed"]) == ("small corpus", "scenes", 5)
    assert manifest["calibrated"] is False
    assert sum(manifest["licences"].values()) == 30


def test_the_questions_are_those_of_the_source(plain: Path) -> None:
    made = {q.id: q for q in generate(Options(questions=SMALL), 5)}
    stored = {q.id: q for split in ("sft", "rl", "dev") for q in read_split(plain, split)}
    assert stored == made


def test_the_recipe_in_the_manifest_builds_the_same_corpus_again(plain: Path, tmp_path: Path) -> None:
    recipe = read_manifest(plain)["recipe"]
    again = Build.model_validate(recipe["build"] | {"out": str(tmp_path / "again")})
    build(Plan(again, Calibrate.model_validate(recipe["calibrate"])))
    hashes = [{f["path"]: f["sha256"] for f in read_manifest(x)["files"]} for x in (plain, tmp_path / "again")]
    assert hashes[0] == hashes[1]


def test_another_seed_gives_another_corpus(plain: Path, tmp_path: Path) -> None:
    build(Plan(table(tmp_path / "other", seed=6), Calibrate(responder="none")))
    ids = [{q.id for q in read_split(folder, "rl")} for folder in (plain, tmp_path / "other")]
    assert not ids[0] & ids[1]


def test_datasets_opens_it_with_its_splits(plain: Path, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(str(plain), cache_dir=str(tmp_path))
    assert {name: len(rows) for name, rows in loaded.items()} == {"sft": 6, "rl": 21, "dev": 3}
    assert isinstance(loaded["rl"].features["audio"], datasets.Audio)


def test_the_card_says_what_is_there(plain: Path) -> None:
    card = (plain / "README.md").read_text(encoding="utf-8")
    assert card.startswith('---\npretty_name: "small corpus"\nlicense: cc0-1.0\n')
    assert "| sft | 6 | 2 | 2 | 2 |" in card
    assert "not calibrated yet" in card
    assert "CC0-1.0: 30 questions" in card
    assert "{{" not in card


def test_a_name_of_any_kind_keeps_the_cards_head_readable(plain: Path) -> None:
    name = 'a: [b] "c"\nlicense: mit'
    head = render_card(read_manifest(plain) | {"name": name}).split("---\n")[1]
    found = yaml.safe_load(head)
    assert (found["pretty_name"], found["license"]) == (name, "cc0-1.0")


def test_a_card_needs_every_value_it_shows(plain: Path) -> None:
    manifest = read_manifest(plain)
    del manifest["seed"]
    with pytest.raises(Exception, match="seed"):
        render_card(manifest)


def test_rl_is_calibrated_and_never_passed_questions_move_to_a_side_file(plain: Path, tmp_path: Path) -> None:
    rl = read_split(plain, "rl")
    hard, middling = rl[3].id, rl[4].id
    calibration = record(plain, tmp_path / "answers.jsonl", {hard: 0, middling: 1})
    manifest = build(Plan(table(tmp_path / "corpus"), calibration))
    assert check_corpus(tmp_path / "corpus") == []
    kept, dropped = read_split(tmp_path / "corpus", "rl"), read_split(tmp_path / "corpus", NEVER_PASSED)
    assert [q.id for q in dropped] == [hard]
    assert {q.id for q in kept} == {q.id for q in rl} - {hard}
    assert {q.id: q.pass_rates[0].passes for q in kept} == {q.id: 1 if q.id == middling else 2 for q in kept}
    assert all(not q.pass_rates for split in ("sft", "dev") for q in read_split(tmp_path / "corpus", split))
    assert manifest["calibrated"] is True
    assert manifest["counts"][NEVER_PASSED]["questions"] == 1
    summary = manifest["calibrations"][0]
    assert (summary["responder"], summary["mode"], summary["samples"]) == ("recorded", "direct", 2)
    assert summary["histogram"] == {"0": 1, "1": 1, "2": 19}
    assert "| recorded | direct | 2 |" in (tmp_path / "corpus" / "README.md").read_text(encoding="utf-8")


def test_never_passed_questions_can_stay(plain: Path, tmp_path: Path) -> None:
    hard = read_split(plain, "rl")[0].id
    calibration = record(plain, tmp_path / "answers.jsonl", {hard: 0}).model_copy(update={"drop_never_passed": False})
    manifest = build(Plan(table(tmp_path / "corpus"), calibration))
    assert manifest["splits"] == {"sft": {"rows": 6}, "rl": {"rows": 21}, "dev": {"rows": 3}}
    assert manifest["calibrations"][0]["never_passed"] == 1


def test_a_later_calibration_brings_questions_back_and_keeps_earlier_rates(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    first, second = (q.id for q in read_split(plain, "rl")[:2])
    build(Plan(table(folder), record(plain, tmp_path / "one.jsonl", {first: 0})))
    better = record(folder, tmp_path / "two.jsonl", {second: 0})
    manifest = recalibrate(folder, better.model_copy(update={"seed": 1}))
    assert check_corpus(folder) == []
    assert [q.id for q in read_split(folder, NEVER_PASSED)] == [second]
    back = next(q for q in read_split(folder, "rl") if q.id == first)
    assert [(r.seed, r.passes) for r in back.pass_rates] == [(0, 0), (1, 2)]
    assert [c["seed"] for c in manifest["calibrations"]] == [0, 1]
    assert manifest["recipe"]["build"]["seed"] == 5
    # The same run again replaces its own results and no others.
    again = recalibrate(folder, record(folder, tmp_path / "three.jsonl", {}).model_copy(update={"seed": 1}))
    assert [c["seed"] for c in again["calibrations"]] == [0, 1]
    assert NEVER_PASSED not in again["splits"]
    assert all([r.seed for r in q.pass_rates] == [0, 1] for q in read_split(folder, "rl"))
    assert (read_split(folder, "sft"), read_split(folder, "dev")) == (
        read_split(plain, "sft"),
        read_split(plain, "dev"),
    )


def test_a_calibration_that_fails_leaves_the_corpus_as_it_was(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    build(Plan(table(folder), Calibrate(responder="none")))
    before = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    answers = record(folder, tmp_path / "answers.jsonl", {})
    (tmp_path / "answers.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(RuntimeError, match="has no answer for question"):
        recalibrate(folder, answers)
    assert {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["answers.jsonl", "corpus"]


def test_calibration_without_a_responder_or_questions_is_refused(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="found responder 'none'"):
        recalibrate(plain, Calibrate(responder="none"))
    monkeypatch.setattr("sari_data.calibrate.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="torch and transformers not installed"):
        recalibrate(plain, Calibrate())
    build(Plan(table(tmp_path / "all", sft=27), Calibrate(responder="none")))
    with pytest.raises(CorpusError, match="expected questions in the split rl"):
        recalibrate(tmp_path / "all", Calibrate(responder="scripted"))


def test_a_folder_in_use_is_refused_before_any_question_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(options: Options, seed: int) -> Iterator[AudioQuestion]:
        raise AssertionError("the folder must be looked at first")

    monkeypatch.setattr("sari_data.sources.scenes.generate", never)
    (tmp_path / "letter.txt").write_text("Dear Zoë", encoding="utf-8")
    with pytest.raises(CorpusError, match="holds files that are no corpus"):
        build(Plan(table(tmp_path), Calibrate(responder="none")), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_an_unknown_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source 'radio' is unknown; expected one of \['audiomcq', .*'table'\]"):
        build(Plan(table(tmp_path / "corpus", source="radio"), Calibrate(responder="none")))
    assert list(tmp_path.iterdir()) == []


def test_without_a_recipe_it_is_the_default_one(empty_folder: Path) -> None:
    small = [f"build.scenes.questions.{domain}=4" for domain in SMALL]
    manifest = build_from_recipe(None, [*small, "build.sft=3", "build.dev=3", "calibrate.responder=none"])
    assert check_corpus("corpus") == []
    assert manifest["recipe"]["build"]["out"] == "corpus"
    assert manifest["splits"]["rl"] == {"rows": 6}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "haiku"}, "'haiku'"),
        ({"responder": "nobody"}, "'nobody'"),
        ({"model": "tiny"}, "'scripted' could not be made"),  # it has no model
        ({"responder": "local", "model": "./nowhere"}, "nowhere"),
    ],
)
def test_a_wrong_calibration_is_refused_before_any_question_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], message: str
) -> None:
    monkeypatch.setattr("sari_data.stages.load_source", lambda name: pytest.fail("questions were made"))
    with pytest.raises(SariError, match=message):
        build(Plan(table(tmp_path / "c"), Calibrate.model_validate({"responder": "scripted"} | change)))
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_its_source_is_told_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(
        '[build]\nout = "c"\n\n[build.table]\npath = "mine.csv"\npreset = "mmau"\n', encoding="utf-8"
    )
    with pytest.raises(SariError, match=r"build.source: not given, but \[build.table\] is: add source = 'table'"):
        Plan.load(tmp_path / "my.toml")
    with pytest.raises(InputError, match=r"source 'table' needs the table \[build.table\] with path"):
        build(Plan(Build(source="table", out=str(tmp_path / "c")), Calibrate(responder="none")))


def test_the_embedded_model_is_not_asked_about_recordings_unless_it_is_named(plain: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "corpus"
    shutil.copytree(plain, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps(manifest | {"source": "table"}), encoding="utf-8")
    with pytest.raises(InputError, match="the embedded model has only ever heard composed scenes"):
        recalibrate(folder, Calibrate())
