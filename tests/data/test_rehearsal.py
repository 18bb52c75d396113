"""The rehearsal: valid answers to every prompt of the annotation, from no model."""

import tomllib
from collections import Counter
from importlib import import_module

import pytest
from annotator import asker, clip, question, table
from hypothesis import given
from hypothesis import strategies as st

from sari_data.annotate import Tally, caption_clips, write_chains, write_questions
from sari_data.errors import ResponderError
from sari_data.responder import Request, Sampling
from sari_data.responders.rehearsal import RehearsalResponder, rehearse
from sari_data.sources.base import SetAside


def rehearsed(**changes):
    return asker(RehearsalResponder(model="whatever", base_url="nowhere"), **changes)


@pytest.mark.parametrize("domain", ["sound", "music", "speech", "sound+speech"])
def test_all_stages_pass_with_the_first_answer(domain) -> None:
    recipe = table(questions_per_clip=2, difficulty=True)
    clips = [clip(n, domain=domain) for n in range(20)]
    tally = Tally()
    captioned = [c for _, c in caption_clips(clips, rehearsed(), recipe, tally=tally)]
    written = [q for _, found in write_questions(captioned, rehearsed(), recipe, tally=tally) for q in found]
    done = dict(write_chains(written, rehearsed(), rehearsed(), recipe, tally=tally))
    assert len(done) == 40
    assert not [q for q in done.values() if isinstance(q, SetAside)]
    assert all(q.reasoning.structured and q.reasoning.unstructured for q in done.values())
    assert {how.rpartition("/")[0] for q in done.values() for how in q.provenance.made_by.values()} == {"rehearsal"}
    assert (tally.asked_again, tally.set_aside, tally.short) == (0, 0, 0)
    assert len({c.caption for c in captioned}) == 20
    assert len({q.question for q in written}) > 35


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30)


@given(labels=st.lists(TEXT, max_size=3), key=TEXT, caption=TEXT | st.none())
def test_questions_about_any_clip_have_the_right_form_or_are_set_aside(labels, key, caption) -> None:
    made = clip(1, labels=tuple(labels), facts={"key": key}, caption=caption)
    [(_, found)] = write_questions([made], rehearsed(), table())
    assert isinstance(found, SetAside) or len(found) == 1


@pytest.mark.parametrize("fact", ["G# minor", "4", "Allegro", "A fairly long description of forty-odd chars"])
def test_facts_are_asked_for_among_their_like(fact) -> None:
    [(_, [made])] = write_questions([clip(1, labels=(), facts={"fact": fact})], rehearsed(), table())
    assert len(set(made.choices)) == 4


def test_the_same_prompt_and_audio_always_get_the_same_answer() -> None:
    responder = RehearsalResponder()
    one, two = clip(1).audio, clip(2).audio
    prompt = "Task: say what there is to hear.\n"
    requests = [Request("a", one, prompt), Request("b", one, prompt), Request("c", two, prompt, samples=2)]
    texts = [r.text for r in responder.respond(requests, Sampling())]
    assert Counter(texts) == {texts[0]: 2, texts[2]: 2}


def test_chains_of_other_peoples_questions_pass_too() -> None:
    questions = [
        question(1, choices=("2", "3", "4", "5"), answer="3", question="How many barks are heard?"),
        question(2, choices=("yes", "no"), answer="no", question="Does it rain?", caption="Music."),
        question(3, choices=("first", "last", "second"), answer="first", question="When does it ring?"),
        question(4, choices=("C major", "A major"), answer="A major", question="Which key?", caption="It is in A"),
    ]
    done = dict(write_chains(questions, rehearsed(), None, table()))
    assert not [q for q in done.values() if isinstance(q, SetAside)]


@pytest.mark.parametrize("prompt", ["", "What is heard?", "Task: write a poem.", "Task: think aloud freely.\n"])
def test_a_prompt_that_is_not_known_is_an_error(prompt) -> None:
    with pytest.raises(ResponderError, match="the rehearsal"):
        rehearse(prompt)


def test_it_is_registered(repository) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, name = project["entry-points"]["sari.responders"]["rehearsal"].split(":")
    assert getattr(import_module(module), name) is RehearsalResponder
