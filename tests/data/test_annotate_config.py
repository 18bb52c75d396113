"""The recipe's table, and how its responders are opened."""

import re
import tomllib
from pathlib import Path

import pytest
from annotator import Annotator, clip, table

from sari_data import annotate
from sari_data.annotate import Annotate, caption_clips, open_askers, write_questions
from sari_data.config import load_tables
from sari_data.errors import InputError, RecipeError
from sari_data.responder import Responder

WRONG = {
    "annotate.caption.responder=nobody": r"annotate.caption.responder: responder 'nobody' is not registered; found \[",
    "annotate.question.tries=0": "annotate.question.tries: input should be greater than or equal to 1",
    "annotate.question.temperature=-1": "annotate.question.temperature: input should be greater",
    "annotate.reasoning.top_p=0": "annotate.reasoning.top_p: input should be greater than 0",
    "annotate.judge.max_new_tokens=0": "annotate.judge.max_new_tokens: input",
    "annotate.judge.responder=scripted": "annotate.judge: a judge needs chains to judge",
    "annotate.options_per_question=1": "annotate.options_per_question: input should be",
    "annotate.questions_per_clip=0": "annotate.questions_per_clip: input should be",
    "annotate.skills.noise=['x']": "annotate.skills: expected the domains sound, music, speech as keys, not 'noise'",
    "annotate.skills.sound=[]": "annotate.skills: expected one or more skills for sound",
    "annotate.chains=[]": "annotate.chains: expected 'structured', 'unstructured' or both",
    "annotate.chains=['structured','structured']": "annotate.chains: expected 'structured', 'unstructured' or both",
    "annotate.chains=['free']": "annotate.chains.0: input should be",
    "annotate.judge_disagrees=ignore": "annotate.judge_disagrees: input should be",
    "annotate.question.respnder=x": "annotate.question.respnder: unknown key; did you mean responder",
}


@pytest.mark.parametrize(("override", "says"), WRONG.items(), ids=WRONG)
def test_what_is_wrong_in_a_recipe_is_told_with_its_key(override, says) -> None:
    with pytest.raises(RecipeError, match=says) as raised:
        load_tables(None, {"annotate": Annotate}, [override])
    assert len(raised.value.problems) == 1


def test_without_a_recipe_nobody_is_asked() -> None:
    askers = open_askers(load_tables(None, {"annotate": Annotate})["annotate"])
    assert (askers.caption, askers.question, askers.reasoning, askers.judge) == (None,) * 4
    assert askers.responders == ()


def opener():
    """A way to open responders that notes what it opened."""
    opened = []

    def load(name, /, **options) -> Responder:
        if "wrong" in options:
            raise TypeError("unexpected keyword 'wrong'")
        responder = Annotator()
        responder.name = f"{name}/{options.get('model')}"
        responder.cacheable = options.get("cacheable", False)
        opened.append((name, options))
        return responder

    return load, opened


def test_stages_with_the_same_settings_share_a_responder() -> None:
    load, opened = opener()
    one = {"responder": "scripted", "model": "m", "options": {"x": 1}}
    askers = open_askers(
        table(
            caption=one | {"model": "lalm"},
            question=one | {"temperature": 0.2, "seed": 7, "tries": 5, "listen": True, "top_p": 0.5},
            reasoning=one,
            judge=one | {"options": {"x": 2}},
        ),
        load=load,
    )
    assert opened == [
        ("scripted", {"x": 1, "model": "lalm"}),
        ("scripted", {"x": 1, "model": "m"}),
        ("scripted", {"x": 2, "model": "m"}),
    ]
    assert askers.question.responder is askers.reasoning.responder
    assert len(askers.responders) == 3
    how = askers.question.sampling
    assert (how.temperature, how.top_p, how.seed, how.stop) == (0.2, 0.5, 7, ())
    assert (askers.question.tries, askers.question.listen) == (5, True)
    assert (askers.caption.sampling.temperature, askers.caption.sampling.max_new_tokens) == (0.0, 256)


def test_options_that_a_responder_does_not_take_are_told_with_their_key() -> None:
    load, _ = opener()
    with pytest.raises(InputError, match=r"correct annotate.question.model and annotate.question.options"):
        open_askers(table(question={"responder": "scripted", "options": {"wrong": 1}}), load=load)


@pytest.mark.parametrize("cache", ["answers.sqlite", None, ""])
def test_answers_that_can_be_kept_are_kept_and_nobody_is_asked_twice(cache, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SARI_CACHE", str(tmp_path / "own"))
    path = str(tmp_path / cache) if cache else cache
    stage = {"responder": "scripted", "options": {"cacheable": True}}
    recipe = table(caption=stage | {"model": "a"}, question=stage | {"model": "b"}, cache=path)
    asked = []
    for _ in range(2):
        load, _ = opener()
        askers = open_askers(recipe, load=load)
        clips = [c for _, c in caption_clips([clip(n) for n in range(5)], askers.caption, recipe)]
        questions = dict(write_questions(clips, askers.question, recipe))
        assert len(questions) == 5
        inner = [getattr(r, "responder", r) for r in askers.responders]
        asked.append(sum(len(r.asked) for r in inner))
    assert asked == ([10, 10] if cache == "" else [10, 0])
    kept = Path(path) if cache else tmp_path / "own" / "answers.sqlite"
    assert kept.is_file() is (cache != "")


def test_a_rehearsal_stands_in_for_every_stage_that_is_on() -> None:
    load, opened = opener()
    stage = {"responder": "scripted", "model": "m", "options": {"wrong": 1}}
    recipe = table(question=stage, reasoning=stage, rehearse=True)
    askers = open_askers(recipe, load=load)
    assert opened == []
    assert askers.caption is None
    assert [r.name for r in askers.responders] == ["rehearsal"]
    [(_, [question])] = write_questions([clip(1)], askers.question, recipe)
    assert any(how.startswith("rehearsal/") for how in question.provenance.made_by.values())
    paid = table(question={"responder": "scripted"})
    [(_, [other])] = write_questions([clip(1)], open_askers(paid, load=load).question, paid)
    assert not any("rehearsal" in how for how in other.provenance.made_by.values())


def test_a_mix_of_domains_has_the_skills_of_all_and_own_ones_replace_only_theirs() -> None:
    own = table(skills={"sound": ["counting"]})
    assert own.skills_for("sound") == ("counting",)
    assert own.skills_for("music") == table().skills_for("music")
    assert own.skills_for("sound+speech") == ("counting", *table().skills_for("speech"))


def test_the_guides_recipe_is_valid(repository) -> None:
    text = (repository / "docs" / "annotation.md").read_text(encoding="utf-8")
    recipe = re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1].replace('"server"', '"scripted"')
    described = Annotate.model_validate(tomllib.loads(recipe)["annotate"])
    assert described.question.tries == 3
    assert described.reasoning.options == described.question.options


def test_everything_that_the_pipeline_calls_is_in_one_place() -> None:
    assert all(hasattr(annotate, name) for name in annotate.__all__)
