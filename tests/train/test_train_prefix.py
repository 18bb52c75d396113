"""What an answer begins with: the model goes on from it as from tokens of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from train_helpers import make_clip

from sari_data.errors import InputError
from sari_data.prompting import render_prompt
from sari_data.responder import Request, Sampling
from sari_data.types import AudioQuestion
from sari_train.batch import Example, encode_example
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.responder import LocalResponder
from sari_train.rollout import Rollout, RolloutPrompt

GREEDY = Sampling(max_new_tokens=24, stop=())


@pytest.fixture(scope="module")
def tiny() -> AudioLM:
    return load_model("tiny")


def _answers(lm: AudioLM, requests: Sequence[Request], sampling: Sampling) -> dict[str, tuple[int, ...]]:
    rows = [RolloutPrompt(r.id, encode_example(lm, Example(r.audio, r.prompt))) for r in requests]
    return {done.prompt_id: done.ids for done in Rollout(lm, sampling).generate(rows)}


def _begun(lm: AudioLM, request: Request, ids: tuple[int, ...]) -> tuple[int, Request] | None:
    """Return the request with about half of the answer given, and how many tokens that is.

    A text is not always tokenised as the model wrote it: then a shorter beginning is taken, ``None`` if there is none.
    """
    spoken = [i for i in ids if i not in lm.stop_ids]
    for count in range(len(spoken) // 2, 0, -1):
        text = lm.tokenizer.decode(spoken[:count], skip_special_tokens=False)
        if lm.tokenizer(text, add_special_tokens=False)["input_ids"] == spoken[:count]:
            return count, replace(request, prefix=text)
    return None


def _check(lm: AudioLM, requests: list[Request], sampling: Sampling, least: int) -> None:
    """Answers that are begun with their own beginning come out the same, among others that are not begun."""
    ids = _answers(lm, requests, sampling)
    plain = {r.request_id: r for r in LocalResponder(lm).respond(requests, sampling)}
    begun = {r.id: found for r in requests if (found := _begun(lm, r, ids[r.id]))}
    assert len(begun) >= least
    others = [replace(r, id=f"{r.id} plain") for r in requests]
    mixed = [request for pair in zip((begun[i][1] for i in begun), others, strict=False) for request in pair]
    found = {r.request_id: r for r in LocalResponder(lm, batch_size=5).respond(mixed, sampling)}
    for name, (count, request) in begun.items():
        row = encode_example(lm, Example(request.audio, request.prompt, prefix=request.prefix))
        (done,) = Rollout(lm, sampling).generate([RolloutPrompt(name, row)])
        assert row.prefix_ids == ids[name][:count]
        assert done.ids[: len(ids[name]) - count] == ids[name][count:], "token for token"
        assert found[name].text.startswith(plain[name].text)
        assert found[name].tokens == len(done.ids), "the tokens of the prefix are the prompt's"
        if plain[name].finish_reason == "stop":
            assert replace(found[name], tokens=plain[name].tokens) == plain[name]
    for request in others[: len(begun)]:
        assert found[request.id].text == plain[request.id.removesuffix(" plain")].text


def test_the_tiny_model_goes_on_from_half_of_its_own_answer(
    tiny: AudioLM, scene_questions: list[AudioQuestion]
) -> None:
    requests = [Request(q.id, q.audio, render_prompt(q, "direct")) for q in scene_questions[:7]]
    _check(tiny, requests, Sampling(max_new_tokens=40), least=5)


def test_a_small_qwen2_audio_goes_on_from_half_of_its_own_answer(small_lm: AudioLM) -> None:
    requests = [Request(f"q{i}", make_clip(i, 0.4 + 0.5 * i), f"What is number {i}?") for i in range(6)]
    _check(small_lm, requests, GREEDY, least=3)


def _texts(lm: AudioLM, request: Request, *stop: str) -> tuple[str, str]:
    (found,) = LocalResponder(lm).respond([request], replace(GREEDY, stop=stop))
    return found.text, found.finish_reason


def test_a_stop_string_in_the_prefix_does_not_end_the_answer_but_one_that_begins_there_does(small_lm: AudioLM) -> None:
    plain = Request("q", make_clip(1, 0.8), "What is heard?", prefix="so: END and")
    text, reason = _texts(small_lm, plain)
    said = text.removeprefix(plain.prefix)
    assert text.startswith(plain.prefix)
    assert len(said) > 3
    assert _texts(small_lm, plain, "END") == (text, reason)
    across = plain.prefix[-3:] + said[0]
    assert _texts(small_lm, plain, across) == (plain.prefix + said[0], "stop")
    assert _texts(small_lm, plain, "END", said[1:3]) == (plain.prefix + said[: said.index(said[1:3]) + 2], "stop")


def test_a_prefix_with_a_control_token_or_too_long_for_the_model_is_refused(small_lm: AudioLM) -> None:
    with pytest.raises(InputError, match=r"the prefix must not hold the control token <\|im_end\|>"):
        encode_example(small_lm, Example(None, "What?", prefix="a<|im_end|>"))
    with pytest.raises(InputError, match="context of 512"):
        encode_example(small_lm, Example(None, "What?", prefix="heard it " * 600))
