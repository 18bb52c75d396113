"""The stages one by one, with scripted answers: what is set aside is counted and listed, and nothing else is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotator import Annotator, asker, clip, is_again, question, reply, spoil, table, task
from corpus_examples import tone

from sari_data import stages
from sari_data.annotate import OpenAskers
from sari_data.dedup import Dedup
from sari_data.errors import InputError, ResponderError
from sari_data.funnel import Funnel
from sari_data.metering import LOOK_AT, Meter
from sari_data.responder import Request, Response, Sampling, Usage
from sari_data.scratch import Scratch
from sari_data.types import AudioQuestion, AudioRef, Provenance, hash_path


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    """An empty scratch."""
    with Scratch(tmp_path / "corpus") as opened:
        yield opened


def lines(scratch: Scratch) -> list[dict[str, Any]]:
    """What was set aside so far."""
    return [json.loads(line) for line in scratch.asides()]


def told(scratch: Scratch) -> Counter[tuple[str, str]]:
    """How often each stage set something aside for each reason."""
    return Counter((line["stage"], line["reason"]) for line in lines(scratch))


def annotator(hopeless: set[str], kind: str, seed: int = 0) -> Annotator:
    """Answers rightly but for the prompts of one kind whose request is of one of these ids."""

    def answer(request: Request) -> str:
        heard = request.audio.key if request.audio else ""
        bad = request.id.partition("#")[0] in hopeless and task(request.prompt) == kind
        return spoil(request.prompt, 0, heard) if bad else reply(request.prompt, heard)

    return Annotator(answer, seed=seed)


def split(scratch: Scratch, funnel: Funnel, sft: int, writer: Any, caption: Any = None, dev: int = 0) -> None:
    """Run the split with a writer of chains and perhaps one of captions."""
    askers = OpenAskers(reasoning=writer and asker(writer), caption=caption and asker(caption))
    stages.split(scratch, funnel, sft=sft, dev=dev, seed=0, groups={}, askers=askers, table=table())


def ids(scratch: Scratch, split: str) -> set[str]:
    """The ids of a split's questions."""
    return {found.id for found in scratch.questions(split)}


@pytest.mark.parametrize("seed", range(3))
def test_clips_that_nobody_can_describe_are_counted_and_listed(scratch: Scratch, seed: int) -> None:
    clips = [clip(number) for number in range(12)]
    known = clip(20, caption="A dog barks.")
    for one in (*clips, known):
        scratch.add(one)
    bad = {clips[3].id, clips[8].id}
    funnel = Funnel()
    stages.caption(scratch, funnel, OpenAskers(caption=asker(annotator(bad, "caption", seed))), table())
    [stage] = funnel.to_manifest()
    assert (stage["in"], stage["out"]) == (12, 10)
    assert sum(stage["dropped"].values()) == 2
    assert [line["id"] for line in lines(scratch)] == [clips[3].id, clips[8].id]  # in their order, whoever came first
    assert {found.id for found in scratch.clips()} == {c.id for c in (*clips, known)} - bad
    assert all(found.caption for found in scratch.clips())


def test_without_a_writer_every_clip_is_set_aside(scratch: Scratch) -> None:
    scratch.add(clip(1, caption="A dog barks."))
    funnel = Funnel()
    stages.question(scratch, funnel, OpenAskers(), table())
    assert funnel.to_manifest()[0]["dropped"] == {stages.NO_WRITER: 1}
    assert told(scratch) == {("question", stages.NO_WRITER): 1}
    with pytest.raises(InputError, match=r"none is left \(1 nobody writes questions about it\)"):
        stages.check_any(scratch, funnel)


@pytest.mark.parametrize("seed", range(4))
def test_of_the_same_question_of_two_clips_the_first_stays_whoever_is_sooner(tmp_path: Path, seed: int) -> None:
    # Two rows about one recording: the writer, who is told the same, asks the same.
    twins = [clip(1, caption="A dog barks.", provenance=Provenance("made", name, "CC0")) for name in ("one", "two")]
    with Scratch(tmp_path / "corpus") as scratch:
        for one in (twins[0], clip(2, caption="A bell rings."), twins[1]):
            scratch.add(one)
        funnel = Funnel()
        stages.question(scratch, funnel, OpenAskers(question=asker(Annotator(seed=seed, most=3))), table())
        assert [found.provenance.source_id for found in scratch.questions()] == ["one", "c2"]
        [stage] = funnel.to_manifest()
        assert (stage["in"], stage["out"], stage["dropped"]) == (3, 2, {stages.REPEAT: 1})
        [line] = lines(scratch)
        assert line["reason"] == stages.REPEAT
        assert line["provenance"]["source_id"] == "two"
        assert line["detail"]


def test_a_question_whose_chains_fail_is_left_to_rl(scratch: Scratch) -> None:
    made = [question(number) for number in range(10)]
    for one in made:
        scratch.add(one)
    plain = Annotator()
    funnel = Funnel()
    split(scratch, funnel, 4, plain, dev=2)
    first = ids(scratch, "sft")
    assert len(first) == 4
    # The same again, but two of these four cannot be reasoned about.
    for one in made:
        scratch.put(one)
    bad = set(sorted(first)[:2])
    funnel = Funnel()
    split(scratch, funnel, 4, annotator(bad, "structured"), dev=2)
    assert bad <= ids(scratch, "rl")
    assert len(ids(scratch, "sft")) == 4
    assert not ids(scratch, "sft") & bad
    assert all(found.reasoning.structured and found.reasoning.unstructured for found in scratch.questions("sft"))
    [stage] = funnel.to_manifest()
    assert (stage["stage"], stage["in"], stage["out"]) == ("reason", 6, 4)
    assert sum(stage["dropped"].values()) == 2
    assert all(reason.endswith("(left to rl)") for reason in stage["dropped"])
    assert {line["id"] for line in lines(scratch)} == bad
    assert len(scratch.questions()) == 10


def test_too_few_chains_are_an_error_that_says_what_became_of_them(scratch: Scratch) -> None:
    made = [question(number) for number in range(6)]
    for one in made:
        scratch.add(one)
    bad = {one.id for one in made[:3]}
    with pytest.raises(InputError, match=r"needs 4 questions with chains, .* 3 of 6 questions got chains.*\(3 .*\)"):
        split(scratch, Funnel(), 4, annotator(bad, "structured"))


def test_a_writer_of_whom_nothing_comes_is_not_paid_for_the_whole_corpus(scratch: Scratch) -> None:
    for number in range(3 * LOOK_AT):
        scratch.add(question(number))
    bad = Annotator(lambda request: "I would rather not.")
    with pytest.raises(ResponderError, match=rf"reason: {LOOK_AT} of the first {LOOK_AT} answers had to be set aside"):
        split(scratch, Funnel(), 2 * LOOK_AT, bad)
    assert len({request.id.partition("#")[0] for request in bad.asked}) < LOOK_AT + 20


def test_a_writer_of_whom_little_comes_ends_at_four_times_the_questions(scratch: Scratch) -> None:
    made = [question(number) for number in range(400)]
    for one in made:
        scratch.add(one)
    bad = annotator({one.id for number, one in enumerate(made) if number % 8}, "structured")
    with pytest.raises(InputError, match=r"take chains of more than 260 questions.*of \d+ questions got chains"):
        split(scratch, Funnel(), 40, bad)
    assert len({request.id.partition("#")[0] for request in bad.asked}) <= 260


def test_questions_without_a_caption_are_described_before_they_are_reasoned_about(scratch: Scratch) -> None:
    bare = [question(number, caption=None) for number in range(6)]
    twin = question(5, id="q9999", caption=None, question="Which animal comes first?")
    for one in (*bare, twin):
        scratch.add(one)
    funnel, describer = Funnel(), Annotator()
    split(scratch, funnel, 7, Annotator(), describer)
    assert len(describer.asked) == 6  # a clip is described once
    assert [stage["stage"] for stage in funnel.to_manifest()] == ["caption for chains", "reason"]
    for found in scratch.questions("sft"):
        assert found.caption
        assert found.provenance.made_by["caption"].startswith("annotator/")
    assert len(ids(scratch, "sft")) == 7


def test_a_clip_that_cannot_be_described_for_its_chain_is_told_and_its_question_stays(scratch: Scratch) -> None:
    made = [question(number, caption=None) for number in range(6)]
    for one in made:
        scratch.add(one)
    refuses = Annotator(
        lambda request: "I cannot hear." if request.audio == made[2].audio else reply(request.prompt, "x")
    )
    funnel = Funnel()
    split(scratch, funnel, 5, Annotator(), refuses)
    captions, chains = funnel.to_manifest()
    assert captions["in"] == captions["out"] + sum(captions["dropped"].values())
    assert sum(captions["dropped"].values()) == 1
    assert chains["dropped"] == {"the question has no caption to reason from (left to rl)": 1}
    assert ids(scratch, "rl") == {made[2].id}
    assert [line["stage"] for line in lines(scratch)] == ["caption", "reason"]


def test_without_a_writer_and_without_clips_no_stage_is_in_the_funnel(scratch: Scratch) -> None:
    scratch.add(question(1))
    funnel = Funnel()
    stages.caption(scratch, funnel, OpenAskers(caption=asker()), table())
    stages.question(scratch, funnel, OpenAskers(question=asker()), table())
    split(scratch, funnel, 0, None)
    split(scratch, funnel, 0, Annotator())
    assert funnel.to_manifest() == []


@pytest.mark.parametrize("fate", ["mark", "drop"])
def test_what_a_benchmark_has_is_marked_or_dropped(scratch: Scratch, tmp_path: Path, fate: str) -> None:
    made: list[AudioQuestion] = []
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(tone(200 + 90 * number))
        made.append(
            question(number, audio=hash_path(tmp_path / f"{number}.wav"), question=f"What is it, number {number}?")
        )
        scratch.add(made[-1])
    benchmark = tmp_path / "bench.jsonl"
    row = {"id": "b1", "question": made[1].question, "choices": list(made[1].choices), "answer": made[1].answer}
    benchmark.write_text(json.dumps(row))
    funnel = Funnel()
    against = Dedup.model_validate({"against": [str(benchmark)], "on_contamination": fate, "sound": False})
    summary, _ = stages.clean(scratch, funnel, against)
    left = {found.id: found.flags for found in scratch.questions()}
    [stage] = funnel.to_manifest()
    assert summary["against"][0]["name"] == "bench"
    if fate == "mark":
        assert left == {made[0].id: (), made[1].id: ("contaminated",), made[2].id: ()}
        assert (stage["in"], stage["out"], stage["dropped"]) == (3, 3, {})
        assert lines(scratch) == []
    else:
        assert left == {made[0].id: (), made[2].id: ()}
        assert (stage["in"], stage["out"], stage["dropped"]) == (3, 2, {"in a benchmark": 1})
        assert [line["id"] for line in lines(scratch)] == [made[1].id]
        assert "b1 in bench" in lines(scratch)[0]["detail"]


def test_splits_that_can_never_be_filled_are_told_before_anybody_is_asked(scratch: Scratch) -> None:
    scratch.add(question(1))
    scratch.add(clip(7))
    stages.check_enough(scratch, sft=2, dev=1, per_clip=2)
    with pytest.raises(
        InputError, match=r"need 4 questions \(build.sft 3 and build.dev 1\), found 1 and 1 clips, each"
    ):
        stages.check_enough(scratch, sft=3, dev=1, per_clip=2)
    with pytest.raises(InputError, match="found 1 and 1 clips"):
        stages.check_enough(scratch, sft=2, dev=0, per_clip=0)


def test_stages_that_share_a_responder_tell_their_own_use(scratch: Scratch) -> None:
    class Counting(Annotator):
        def __init__(self) -> None:
            super().__init__()
            self.usage = Usage(cost=0.0)

        def respond(self, requests: Any, sampling: Sampling) -> Iterator[Response]:
            for response in super().respond(requests, sampling):
                self.usage.requests += 1
                self.usage.cost = (self.usage.cost or 0) + 0.5
                yield response

    for number in range(5):
        scratch.add(clip(number))
    one, funnel = Counting(), Funnel()
    askers = OpenAskers(caption=asker(one), question=asker(one))
    stages.caption(scratch, funnel, askers, table())
    stages.question(scratch, funnel, askers, table())
    assert [stage.note for stage in funnel.stages] == ["5 requests, cost 2.5000"] * 2
    meter = Meter(one, one, Annotator())
    for _ in range(2):
        with meter:
            list(one.respond([Request("a", AudioRef(path="x"), reply_prompt(), 1)], Sampling()))
    list(one.respond([Request("a", AudioRef(path="x"), reply_prompt(), 1)], Sampling()))
    assert str(meter) == "2 requests, cost 1.0000"


def reply_prompt() -> str:
    """A prompt that the annotator knows."""
    return "Task: say what there is to hear.\n"


def test_an_answer_that_is_asked_again_is_told(scratch: Scratch) -> None:
    scratch.add(clip(1))
    once = Annotator(lambda r: reply(r.prompt, "x") if is_again(r.prompt) else "I'm sorry, but I cannot hear it.")
    funnel = Funnel()
    stages.caption(scratch, funnel, OpenAskers(caption=asker(once)), table())
    assert funnel.stages[0].note == "1 asked again"
    assert funnel.stages[0].line() == "1 clips in, 1 out; 1 asked again"


def test_a_question_whose_options_name_one_pitch_twice_is_set_aside_whatever_source_it_is_from(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [
        question(1, domain="music", choices=("A# minor", "C major", "Bb minor"), answer="C major"),
        question(2, domain="music", choices=("A# minor", "C major", "B minor"), answer="C major"),
        question(
            3, domain="music", choices=("C major", "C major", "B minor"), answer="C major"
        ),  # MMAU repeats options
        question(4, domain="sound", choices=("A# minor", "C major", "Bb minor"), answer="C major"),
    ]

    class Made:
        @staticmethod
        def generate(options: object, seed: int) -> Iterator[AudioQuestion]:
            yield from made

    monkeypatch.setattr("sari_data.stages.load_source", lambda name: Made)
    funnel = Funnel()
    stages.collect(scratch, funnel, {"made": Dedup()}, 0)
    assert [q.id for q in scratch.questions()] == [made[1].id, made[2].id, made[3].id]
    assert funnel.stages[0].dropped == {"two options are one pitch": 1}
    assert lines(scratch)[0]["detail"] == "'A# minor' and 'Bb minor'"
