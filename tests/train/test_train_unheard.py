"""Prompts without audio: the same answers as transformers' own generate, alone or beside prompts that are heard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from train_helpers import make_clip

from sari_data.errors import InputError
from sari_data.responder import Request, Sampling
from sari_data.types import AudioRef
from sari_train.batch import Example, encode_example
from sari_train.models.base import AudioLM
from sari_train.models.clips import SILENT
from sari_train.responder import LocalResponder

PROMPT = "Which of these do you hear? Say one word."
GREEDY = Sampling(temperature=0.0, max_new_tokens=12, stop=())


def test_a_prompt_without_audio_is_answered_as_transformers_does(small_lm: AudioLM, processor: Any) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": PROMPT}]}
    chat = processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    ids = processor.tokenizer(chat, add_special_tokens=False, return_tensors="pt")["input_ids"]
    encoded = encode_example(small_lm, Example(None, PROMPT))
    assert list(encoded.prompt) == ids[0].tolist()
    assert small_lm.audio_token_id not in encoded.prompt
    assert encoded.clip is SILENT
    expected = small_lm.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12,
        do_sample=False,
        suppress_tokens=list(small_lm.banned_ids),
        eos_token_id=list(small_lm.stop_ids),
        pad_token_id=small_lm.pad_id,
    )[0, ids.shape[1] :]
    (found,) = LocalResponder(small_lm).respond([Request("q", None, PROMPT)], GREEDY)
    kept = [i for i in expected.tolist() if i not in small_lm.stop_ids]
    assert found.text == small_lm.tokenizer.decode(kept, skip_special_tokens=False)


@pytest.mark.parametrize("frozen", [False, True])
def test_heard_and_unheard_prompts_share_a_batch(small_lm: AudioLM, frozen: bool) -> None:
    was = small_lm.audio_frozen
    small_lm.audio_frozen = frozen
    try:
        responder = LocalResponder(small_lm)
        sampling = replace(GREEDY, temperature=1.0)
        requests = [
            Request("a", make_clip(1, 0.6), PROMPT, 3),
            Request("b", None, PROMPT, 3),
            Request("c", make_clip(2, 1.0), PROMPT, 3),
        ]
        together = {(r.request_id, r.sample): r.text for r in responder.respond(requests, sampling)}
        alone = {(r.request_id, r.sample): r.text for one in requests for r in responder.respond([one], sampling)}
        assert together == alone
        assert any(together["a", s] != together["b", s] for s in range(3)), "the audio is heard"
    finally:
        small_lm.audio_frozen = was
        small_lm.forget_states()


def test_a_model_whose_template_always_places_audio_says_so(small_lm: AudioLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_lm, "prompt_ids", {})
    monkeypatch.setattr(small_lm, "chat_ids", lambda text, spans: (small_lm.audio_token_id, 1, 2))
    with pytest.raises(InputError, match="cannot be asked without audio"):
        encode_example(small_lm, Example(None, PROMPT))
    with pytest.raises(InputError, match="cannot be asked without audio"):
        list(LocalResponder(small_lm).respond([Request("q", None, PROMPT)], GREEDY))
    assert encode_example(small_lm, Example(make_clip(1, 0.6), PROMPT)).clip.spans
    assert isinstance(make_clip(1, 0.6), AudioRef)
