"""The dataset card: true to the manifest, typed for the Hub, honest about licences, and safe whatever names say."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus_examples import question
from hypothesis import given
from hypothesis import strategies as st

from sari_data.card import escaped, is_rehearsal, render_card
from sari_data.card_head import dataset_info_lines, licence_ids, licence_lines, size_category
from sari_data.counting import Tally
from sari_data.errors import InputError
from sari_data.recipe_text import REMOVED, redacted, to_toml
from sari_data.schema import arrow_schema
from sari_data.store import write_corpus
from sari_data.types import PassRate, Provenance

NASTY = "x | y](http://a) `c` <script>alert(1)</script> **b**\n---\nlicense: mit"


def manifest(**changes: Any) -> dict[str, Any]:
    """A small manifest with the entries that every corpus has had, and what is given."""
    tally = Tally(("sft", "rl", "dev"))
    rates = (
        PassRate(3, 4, "m", "direct", 0, band="easy"),
        PassRate(1, 4, "m", "direct", 0, audio="none"),
    )
    for number in range(4):
        source = Provenance("scenes", f"s{number}", "CC0-1.0", {"caption": "template:scenes"})
        tally.add("rl", question(number, domain="sound", pass_rates=rates, provenance=source))
    old = {"name": "small", "source": "scenes", "seed": 5, "sari_version": "1", "calibrated": False, "calibrations": []}
    return old | tally.to_manifest() | changes


def head_of(card: str) -> dict[str, Any]:
    assert card.startswith("---\n")
    found = yaml.safe_load(card[4:].split("\n---\n")[0])
    assert isinstance(found, dict)
    return found


def test_a_manifest_of_an_earlier_version_has_a_card() -> None:
    new = ("sources", "flags", "pass_rates")
    card = render_card({key: value for key, value in manifest().items() if key not in new})
    assert "- CC0-1.0: 4 questions" in card
    assert "not calibrated yet" in card
    assert "Not compared with any benchmark" in card
    assert head_of(card)["license"] == "cc0-1.0"


@pytest.mark.parametrize("key", ["name", "source", "responder", "licence", "dataset", "made_by", "flag", "why"])
def test_no_name_can_end_a_cell_begin_html_or_change_the_head(key: str) -> None:
    tally = Tally()
    source = Provenance(
        NASTY if key == "dataset" else "d",
        "s",
        NASTY if key == "licence" else "CC0-1.0",
        {"caption": NASTY if key == "made_by" else "t"},
    )
    rate = PassRate(1, 2, NASTY if key == "responder" else "m", "direct", 0)
    tally.add("rl", question(1, provenance=source, pass_rates=(rate,), flags=(NASTY,) if key == "flag" else ()))
    funnel = [{"stage": "clean", "in": 3, "out": 1, "dropped": {NASTY if key == "why" else "twice": 2}}]
    card = render_card(
        manifest(**tally.to_manifest(), funnel=funnel) | ({key: NASTY} if key in ("name", "source") else {})
    )
    body = card[4:].split("\n---\n", 1)[1].replace("\\]", "").replace("\\|", "")
    assert "<script>" not in body
    assert "](http" not in body.replace(json.dumps(NASTY)[1:-1].replace("<", "\\u003c").replace(">", "\\u003e"), "")
    plain = render_card(manifest(**tally.to_manifest()) | {"name": "n"})
    assert head_of(card).keys() == head_of(plain).keys()
    assert head_of(card)["license"] != "mit"
    for row in (line for line in body.splitlines() if line.startswith("| ")):
        assert row.endswith(" |")


def test_escaped_text_is_one_line() -> None:
    assert escaped("a\n# b\t|") == "a # b \\|"
    assert escaped("a_b-c: 1.0 (x)") == "a_b-c: 1.0 (x)"


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["CC0-1.0"], ["cc0-1.0"]),
        (["CC BY-SA 4.0"], ["cc-by-sa-4.0"]),
        (["MIT", "mit"], ["mit"]),
        (["CC0-1.0", "MIT"], ["cc0-1.0", "mit"]),
        (["CC0-1.0", "research use"], ["other"]),
        ([], ["other"]),
    ],
)
def test_licences_are_the_hubs_ids_or_other(licences: list[str], expected: list[str]) -> None:
    assert licence_ids(licences) == expected


def test_several_licences_are_never_made_into_one() -> None:
    known = {"a": {"CC0-1.0": 1}, "b": {"MIT": 2}}
    assert yaml.safe_load("\n".join(licence_lines(known))) == {"license": ["cc0-1.0", "mit"]}
    mixed = {"a": {"CC0-1.0": 1}, 'b: "c"': {"YouTube's terms": 2}}
    found = yaml.safe_load("\n".join(licence_lines(mixed)))
    assert found["license"] == "other"
    assert found["license_details"] == 'a: CC0-1.0; b: "c": YouTube\'s terms'
    assert found["license_name"] == "per-source"


@pytest.mark.parametrize(("embed", "named"), [(True, False), (False, False), (True, True)])
def test_the_heads_features_are_those_of_the_shards(embed: bool, named: bool) -> None:
    from datasets import Features

    body = {"embedded": embed, "splits": {"rl": {"rows": 3}}, "files": [{"split": "rl", "bytes": 7}]}
    lines = dataset_info_lines(body | ({"without_audio": 1} if named else {}), ["rl"])
    info = yaml.safe_load("\n".join(lines))["dataset_info"]
    expected = Features.from_arrow_schema(arrow_schema(embed=embed, named=named))
    assert Features._from_yaml_list(info["features"]) == expected
    assert info["features"] == expected._to_yaml_list()
    assert info["splits"] == [{"name": "rl", "num_bytes": 7, "num_examples": 3}]
    assert info["download_size"] == 7


def test_size_categories_are_the_hubs() -> None:
    assert [size_category(n) for n in (0, 999, 1000, 32_000, 10**6)] == [
        "n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "n>1M",
    ]  # fmt: skip


def test_a_written_corpus_has_a_head_that_lists_its_files_once(tmp_path: Path) -> None:
    body = write_corpus(
        tmp_path / "c", {"rl": [question(1)], "dev": [], "side": [question(2)]}, manifest(), card=render_card
    )
    card = (tmp_path / "c" / "README.md").read_text(encoding="utf-8")
    found = head_of(card)
    assert card.count("\nconfigs:") == 1
    assert found["configs"][0]["data_files"] == [{"split": "rl", "path": "data/rl-*.parquet"}]
    assert [split["name"] for split in found["dataset_info"]["splits"]] == ["rl"]
    assert found["dataset_info"]["download_size"] == body["files"][0]["bytes"]
    assert 'load_dataset("zoe/x")' in render_card(body, repo="zoe/x")


def test_pass_rates_are_drawn_with_their_bands_and_the_listening_check() -> None:
    card = render_card(manifest(calibrated=True, calibrations=[{"responder": "m", "mode": "direct", "samples": 4}]))
    assert "0.7 to 0.8  " + "█" * 30 + "  4" in card
    assert "easy    " + "█" * 30 + "  4" in card
    assert "hard    " + " " * 30 + "  0" in card
    assert "| m, direct | with its audio | 4 | 0.75 |" in card
    assert "| m, direct | without audio | 4 | 0.25 |" in card


def test_histograms_of_earlier_calibrations_are_drawn_too() -> None:
    run = {"responder": "old", "mode": "direct", "samples": 2, "seed": 0, "histogram": {"0": 1, "1": 0, "2": 300}}
    card = render_card(manifest(calibrated=True, calibrations=[run], pass_rates=[]))
    lines = [line.split() for line in card.splitlines() if line[:2] in ("0/", "1/", "2/")]
    assert lines == [["0/2", "█", "1"], ["1/2", "0"], ["2/2", "█" * 30, "300"]]


def test_the_funnel_and_the_contamination_are_shown() -> None:
    funnel = [{"stage": "question", "unit": "clips", "in": 9, "out": 20, "made": "questions", "dropped": {"late": 3}}]
    found = {"checked": True, "contaminated": 2, "against": {"mmau": {"questions": 1000, "same_sound": 2}}}
    card = render_card(manifest(funnel=funnel, contamination=found))
    assert "| question | 9 clips | 20 questions | 3 late |" in card
    assert "**Contaminated.** 2 of its questions" in card
    assert "| against / mmau / same sound | 2 |" in card
    clean = render_card(manifest(contamination={"checked": True, "contaminated": 0}))
    assert "Contaminated." not in clean
    assert "Not compared" not in clean


def test_a_build_s_report_is_a_row_a_benchmark_with_what_was_left_out() -> None:
    compared = {"texts": 990, "segments": 0, "sounds": 12, "unreadable": 0}
    mmau = {"name": "mm|au", "path": "/data/jo/mmau", "questions": 1000, "compared": compared, "contaminated": 5}
    mmau |= {"by_kind": {"question_exact": 3, "sound_same": 2}, "notes": ["it names no videos"]}
    report = {"checked": True, "contaminated": 1, "contaminated_found": 5, "against": [mmau], "questions": 40}
    card = render_card(manifest(contamination=report))
    assert "1 questions are also in a benchmark that the corpus was compared with. 4 that were are left out.\n" in card
    assert "| mm\\|au | 1000 | 990 | 0 | 12 | 5 | 3 question exact, 2 sound same |\n" in card
    assert "- mm\\|au: it names no videos.\n" in card
    assert "| questions | 40 |" in card
    assert "/data/jo" not in card


def test_the_table_of_splits_has_a_column_for_all_that_there_is_and_a_line_for_every_side_file() -> None:
    tally = Tally(("sft", "rl", "dev"))
    for number, (split, domain, level) in enumerate(
        [("rl", "sound+speech", None), ("rl", "sound", "hard"), ("unanswered", "sound", None)]
    ):
        tally.add(split, question(number, domain=domain, difficulty=level))
    card = render_card(manifest(**tally.to_manifest()))
    assert "| split | questions | sound | music | speech | sound+speech | hard | not stated |\n|---|---:|" in card
    assert "| rl | 2 | 1 | 0 | 0 | 1 | 1 | 1 |\n| dev | 0 |" in card
    assert "- `unanswered`: a side file below `side/`" in card
    assert "never_passed" not in card


def test_the_language_is_named_where_it_is_known_to_be_english() -> None:
    assert "\nlanguage:\n- en\n" in render_card(manifest())
    assert "language:" not in render_card(manifest(recipe={"annotate": {"language": "German"}})).partition("---\n\n")[0]


def test_what_could_not_be_answered_is_told_beside_the_pass_rates() -> None:
    run = {"responder": "m", "mode": "direct", "seed": 0, "method": "adaptive", "samples": 3.25, "histogram": {}}
    card = render_card(manifest(calibrated=True, calibrations=[run | {"unanswered": 7}]))
    assert "| m | direct | 3.25 on average |" in card
    assert "m, mode direct, could not answer 7 more questions" in card
    assert "could not answer" not in render_card(manifest(calibrated=True, calibrations=[run]))


def test_the_reliability_of_estimates_and_the_names_of_prompts_are_told() -> None:
    run = {"responder": "m", "mode": "direct", "seed": 0, "method": "adaptive", "samples": 3.25, "histogram": {}}
    bins = [{"from": 0.2, "to": 0.3, "answers": 40, "predicted": 0.24, "observed": 0.25}]
    scores = {"answers": 40, "brier": 0.187, "brier_of_mean": 0.24, "bins": bins}
    run |= {"estimates": scores, "predictor": {"brier": 0.21}}
    texts = {"annotate/clip_caption.jinja": "Say what there is to hear.", "annotate/again.jinja": "Again."}
    card = render_card(manifest(calibrated=True, calibrations=[run], prompts=texts))
    assert (
        "Brier score of the estimates 0.187 (of the mean alone 0.24), of the predictor before any answer 0.21" in card
    )
    assert "| 0.2 to 0.3 | 40 | 0.24 | 0.25 |" in card
    assert "annotate/again.jinja, annotate/clip_caption.jinja." in card
    assert "Brier" not in render_card(manifest())
    assert "The prompts are in" not in render_card(manifest())


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, None),
        ({}, None),
        ({"checked": True, "contaminated": 0}, 0),
        ({"checked": False, "contaminated": 0}, None),
    ],
)
def test_never_compared_is_not_the_same_as_clean(found: Any, expected: int | None) -> None:
    card = render_card(manifest(contamination=found))
    assert ("**Not compared with any benchmark.**" in card) == (expected is None)


def test_a_rehearsal_is_told() -> None:
    made = {"caption": {"model:rehearsal@1a2b": 3}}
    assert is_rehearsal({"made_by": made})
    assert is_rehearsal({"calibrations": [{"responder": "rehearsal"}]})
    assert not is_rehearsal({"made_by": {"caption": {"template:rehearsals": 1, "dress-rehearsal": 2}}})
    assert "A rehearsal, not a corpus" in render_card(manifest(made_by=made))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    return [without_none(inner) for inner in value if inner is not None] if isinstance(value, list) else value


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), VALUES, max_size=4))
def test_a_recipe_written_as_toml_reads_back(tables: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(tables)) == without_none(tables)


def test_what_toml_cannot_say_is_refused() -> None:
    with pytest.raises(InputError, match="found bytes"):
        to_toml({"a": b"x"})


def test_secrets_are_taken_out_of_a_recipe() -> None:
    recipe = {"annotate": {"options": {"api_key": "sk-1", "headers": {"Authorization": "Bearer x"}, "model": "m"}}}
    options = redacted(recipe)["annotate"]["options"]
    assert options == {"api_key": REMOVED, "headers": {"Authorization": REMOVED}, "model": "m"}
    assert redacted({"max_new_tokens": 5, "tokens": ["a"], "hf_token": None}) == {
        "max_new_tokens": 5, "tokens": ["a"], "hf_token": None,
    }  # fmt: skip
    paths = {"audio": "/data/jo/audioset/", "out": "runs/a", "b": "~/x", "c": "C:\\u\\y", "url": "http://a/b"}
    assert list(redacted(paths).values()) == ["audioset", "runs/a", "x", "y", "http://a/b"]
    assert "sk-1" not in render_card(manifest(recipe=recipe))
    keys = {"clientSecret": "s", "accessToken": "s", "aws_credentials": "s", "bearer": "s"}
    assert redacted(keys) == dict.fromkeys(keys, REMOVED)
    kept = {"api_key_env": "MY_KEY", "min_key": "C", "keys": ["key", "mode"]}
    assert redacted(kept) == kept
    address = redacted({"base_url": "https://jo:pw1@host:8/v1?api-version=2&key=sk-2#x"})["base_url"]
    assert address == f"https://{REMOVED}@host:8/v1?{REMOVED}#x"


def test_a_recipe_cannot_leave_its_code_block() -> None:
    card = render_card(manifest(recipe={"build": {"name": "```\n# Not a heading"}}))
    assert '````toml\n[build]\nname = "```\\n# Not a heading"\n````' in card
