"""The manifest's counts: exact, in a fixed order, and of a size that does not follow the number of questions."""

from __future__ import annotations

import pickle

from corpus_examples import bare, question

from sari_data.counting import MOST_NAMES, OTHERS, Tally, count, how_made
from sari_data.sources import dataset_facts
from sari_data.types import PassRate, Provenance


def test_every_question_is_counted_once_in_its_split() -> None:
    tally = Tally(("sft", "rl", "dev"))
    tally.add("rl", question(1))
    tally.add("rl", bare(2))
    tally.add("never_passed", question(3, domain="sound", flags=("contaminated",)))
    found = tally.to_manifest()
    assert list(found["counts"]) == ["sft", "rl", "dev", "never_passed"]
    assert found["counts"]["sft"] == {"questions": 0, "domains": {}, "difficulties": {}}
    assert found["counts"]["rl"] == {
        "questions": 2,
        "domains": {"music": 1, "sound+speech": 1},
        "difficulties": {"easy": 1, "not stated": 1},
    }
    assert found["counts"]["rl"] == count([question(1), bare(2)])
    assert found["licences"] == {"CC0": 2, "not stated": 1}
    assert found["made_by"] == {"answer": {"truth": 2}, "caption": {"template": 2}}
    assert found["flags"] == {"contaminated": 1}
    assert found["sources"]["scenes"]["questions"] == {"rl": 1, "never_passed": 1}
    assert found["sources"]["scenes"]["licences"] == {"CC0": 2}
    assert found["sources"]["scenes"]["share_audio"] is True
    assert found["sources"]["not stated"] == {
        "questions": {"rl": 1},
        "licences": {"not stated": 1},
        "share_audio": None,
    }


def test_pass_rates_of_each_responder_and_of_what_it_heard_stand_apart() -> None:
    tally = Tally()
    heard = PassRate(3, 4, "m", "direct", 0, band="easy")
    deaf = PassRate(4, 4, "m", "direct", 0, audio="none", estimate=0.25)
    tally.add("rl", question(1, pass_rates=(deaf, heard)))
    tally.add("rl", question(2, pass_rates=(PassRate(1, 4, "m", "direct", 0, band="hard"),)))
    own, none = tally.to_manifest()["pass_rates"]
    assert (own["audio"], own["questions"], own["samples"], own["mean"]) == ("own", 2, 8, 0.5)
    assert own["bands"] == {"never": 0, "hard": 1, "medium": 0, "easy": 1, "always": 0}
    assert own["tenths"] == [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    assert (none["audio"], none["mean"], none["bands"]) == ("none", 0.25, {})


def test_splits_may_come_one_by_one_and_stay_empty() -> None:
    counts = Tally(name for name in ("sft", "rl")).counts()
    assert counts == {name: {"questions": 0, "domains": {}, "difficulties": {}} for name in ("sft", "rl")}


def test_a_rate_of_one_is_in_the_last_tenth() -> None:
    tally = Tally()
    tally.add("rl", question(1, pass_rates=(PassRate(4, 4, "m", "direct", 0),)))
    assert tally.to_manifest()["pass_rates"][0]["tenths"] == [0] * 9 + [1]


def test_free_text_does_not_let_the_tally_grow_with_the_corpus() -> None:
    def size(number: int) -> int:
        tally = Tally(about=lambda name: {})
        for n in range(number):
            made = {f"field {n}": f"way {n}", "caption": f"model {n}"}
            tally.add("rl", question(1, provenance=Provenance(f"set {n}", "s", f"licence {n}", made), pass_rates=()))
        found = tally.to_manifest()
        assert sum(found["licences"].values()) == number
        assert found["licences"].get(OTHERS, 0) == max(0, number - MOST_NAMES)
        assert sum(sum(s["questions"].values()) for s in found["sources"].values()) == number
        return len(pickle.dumps(found))

    assert size(3 * MOST_NAMES) < 1.5 * size(MOST_NAMES + 1)


def test_a_rules_own_name_does_not_count() -> None:
    assert how_made("rule:musicbench/key") == "rule:musicbench"
    assert how_made("template:scenes/count@1a") == "template:scenes"
    assert how_made("Qwen/Qwen2.5-7B annotate/caption.jinja@1a") == "Qwen/Qwen2.5-7B annotate/caption.jinja@1a"
    assert how_made("truth") == "truth"


def test_facts_of_a_data_set_come_from_its_source() -> None:
    assert dataset_facts("scenes")["share_audio"] is True
    assert dataset_facts("Scenes/benchmark")["annotation_licence"] == "CC0-1.0"
    assert dataset_facts("somebody's own") == {}
    assert dataset_facts("table") == {}
    assert dataset_facts("MELD") == dataset_facts("meld")
    assert dataset_facts("MELD")["share_audio"] is False
