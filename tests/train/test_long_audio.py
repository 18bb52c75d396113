"""Audio longer than the model hears is refused, split into spans or cut, and never silently.

The model hears 3 s. The reference is transformers' processor and forward, given the pieces as several audios of one
turn.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_builders_more import norms_in_float64
from train_helpers import make_clip, make_lm, waveform

from sari_data.audio import encode_wav, load_audio
from sari_data.errors import AudioError, InputError
from sari_data.responder import Request, Sampling
from sari_data.types import AudioRef
from sari_train.batch import Encoded, Example, collate, embed, encode_example, place_audio
from sari_train.logprobs import completion_logprobs
from sari_train.models.base import AudioLM
from sari_train.models.load import wrap_model
from sari_train.models.long_audio import survey
from sari_train.responder import LocalResponder
from sari_train.rollout import Rollout, RolloutPrompt

LIMIT = 3 * 16_000
PROMPT, TARGET = "What do you hear first? Say one word.", "<answer>a bell</answer>"


@pytest.fixture
def lm(processor: Any) -> AudioLM:
    return make_lm(processor)


def pieces(audio: AudioRef) -> list[np.ndarray]:
    samples = waveform(audio)
    return [samples[at : at + LIMIT] for at in range(0, len(samples), LIMIT)]


def heard_by_transformers(lm: AudioLM, parts: list[np.ndarray], target: str = "") -> tuple[list[int], torch.Tensor]:
    """Token ids and logits [T, V] of one turn with several audios, by processor and model in float64."""
    message = {"role": "user", "content": [{"type": "audio", "audio_url": "x"}] * len(parts)}
    message["content"].append({"type": "text", "text": PROMPT})  # type: ignore[attr-defined]
    chat = lm.processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    made = lm.processor(text=chat + target, audio=parts, sampling_rate=16_000, return_tensors="pt")
    made["input_features"] = made["input_features"].double()
    plain = copy.deepcopy(lm.model).double()
    plain.set_attn_implementation("sdpa")
    with torch.no_grad():
        return made["input_ids"][0].tolist(), plain(**made).logits[0]


def test_split_equals_transformers_with_several_audios(lm: AudioLM, monkeypatch: pytest.MonkeyPatch) -> None:
    norms_in_float64(monkeypatch)
    lm.long_audio = "split"
    for seconds, spans in ((3.0, 1), (6.0, 2), (7.3, 3)):
        audio = make_clip(5, seconds)
        lm.model.double()
        row = encode_example(lm, Example(audio, PROMPT, TARGET))
        assert [span.frames for span in row.clip.spans] == [150] * int(seconds / 3) + [65] * (spans == 3)
        ids, logits = heard_by_transformers(lm, pieces(audio), TARGET + "<|im_end|>")
        assert [*row.prompt, *row.completion] == ids
        with torch.no_grad():
            found = completion_logprobs(lm, collate(lm, [row]))[0][0]
        wanted = torch.tensor(row.completion)
        table = logits[len(row.prompt) - 1 : -1].log_softmax(-1)
        torch.testing.assert_close(found, table.gather(-1, wanted[:, None])[:, 0], atol=1e-9, rtol=1e-9)
        if spans > 1:  # the pieces in another order would show
            swapped = heard_by_transformers(lm, pieces(audio)[:2][::-1] + pieces(audio)[2:], TARGET + "<|im_end|>")[1]
            assert (swapped.log_softmax(-1)[len(row.prompt) - 1 : -1] - table).abs().max() > 1e-3


@pytest.mark.parametrize("frozen", [False, True])
def test_each_span_has_the_vectors_of_the_model_itself(lm: AudioLM, frozen: bool) -> None:
    lm.model.double()
    lm.long_audio = "split"
    if frozen:
        lm.freeze_audio()
    audio = make_clip(6, 7.3)
    other = lm.clip(make_clip(7, 1.0))
    found = lm.audio_embeddings([other, lm.clip(audio)])[1].split([span.tokens for span in lm.clip(audio).spans])
    for ours, part in zip(found, pieces(audio), strict=True):
        made = lm.processor.feature_extractor(
            part, sampling_rate=16_000, padding="max_length", return_attention_mask=True, return_tensors="pt"
        )
        seen = torch.arange(75) < (int(made["attention_mask"].sum()) - 1) // 2 + 1
        tower = lm.model.model.audio_tower
        with torch.no_grad():
            mask = seen.expand(1, 1, 75, -1)
            states = tower(made["input_features"].double(), attention_mask=mask).last_hidden_state[0]
            torch.testing.assert_close(ours, lm.project(states[: len(ours)]), atol=1e-12, rtol=1e-12)
            assert (lm.project(states[: len(ours)]).flip(0) - ours).abs().max() > 1e-3


@pytest.mark.parametrize("frozen", [False, True])
def test_a_batch_of_one_equals_a_batch_of_many(lm: AudioLM, frozen: bool) -> None:
    lm.model.double()
    lm.long_audio = "split"
    if frozen:
        lm.freeze_audio()
    examples = [Example(make_clip(i, seconds), PROMPT, TARGET) for i, seconds in enumerate((7.3, 0.8, 3.0, 5.1))]
    examples.append(examples[0])
    with torch.no_grad():
        together = completion_logprobs(lm, collate(lm, examples))[0]
        for row, example in enumerate(examples):
            alone = completion_logprobs(lm, collate(lm, [example]))[0][0]
            torch.testing.assert_close(together[row], alone, atol=1e-10, rtol=1e-10)
    assert (together[0] - together[3]).abs().max() > 1e-4


def test_sampling_hears_all_spans(lm: AudioLM) -> None:
    lm.long_audio = "split"
    row = encode_example(lm, Example(make_clip(8, 7.3), PROMPT))
    (found,) = Rollout(lm, Sampling(temperature=0.0, max_new_tokens=8)).generate([RolloutPrompt("a", row)])
    plain = copy.deepcopy(lm.model)
    plain.set_attn_implementation("sdpa")
    ids = torch.tensor([row.prompt])
    for token in found.ids:
        made = [span.mel_MF for span in row.clip.spans]
        features = torch.stack([torch.nn.functional.pad(x, (0, 150 - x.shape[1])) for x in made])
        frames = torch.tensor([span.frames for span in row.clip.spans])
        mask = (torch.arange(150)[None] < frames[:, None]).long()
        with torch.no_grad():
            logits = plain(input_ids=ids, input_features=features, feature_attention_mask=mask).logits[0, -1]
        assert int(logits.index_fill(-1, torch.tensor(lm.banned_ids), float("-inf")).argmax()) == token
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)


def test_short_audio_is_the_same_in_every_mode(processor: Any) -> None:
    rows = []
    for mode in ("error", "split", "truncate"):
        lm = make_lm(processor)
        lm.long_audio = mode  # type: ignore[assignment]
        rows.append((encode_example(lm, Example(make_clip(1, 3.0), PROMPT)), lm))
    for row, lm in rows[1:]:
        assert row.prompt == rows[0][0].prompt
        assert row.clip.key == rows[0][0].clip.key
        assert torch.equal(embed(lm, collate(lm, [row])), embed(rows[0][1], collate(rows[0][1], [rows[0][0]])))


@pytest.mark.parametrize(
    ("extra", "spans"),
    [(1, 1), (320, 1), (640, 1), (641, 2)],
    ids=["one sample", "one frame", "two frames", "three frames"],
)
def test_only_a_rest_too_short_for_a_token_is_left_out(lm: AudioLM, extra: int, spans: int) -> None:
    """A frame is 20 ms here (10 ms in the published models), and three make a token."""
    samples = waveform(make_clip(9, 3.1))[: LIMIT + extra]
    lm.long_audio = "split"
    clip = lm.clip(AudioRef(data=encode_wav(samples, 16_000)))
    assert len(clip.spans) == spans
    assert all(span.tokens for span in clip.spans)
    assert torch.equal(clip.spans[0].mel_MF, lm.clip(AudioRef(data=encode_wav(samples[:LIMIT], 16_000))).mel_MF)


def test_truncate_equals_the_cut_audio_and_counts(lm: AudioLM, tmp_path: Path) -> None:
    lm.long_audio = "truncate"
    assert lm.truncation_note is None
    for rate, seconds in ((16_000, 7.5), (44_100, 8.0)):
        samples = np.random.default_rng(rate).normal(size=int(rate * seconds)).astype(np.float32) * 0.1
        path = tmp_path / f"{rate}.wav"
        path.write_bytes(encode_wav(samples, rate))
        whole = load_audio(AudioRef(path=str(path)), 16_000)
        (cut, frames, tokens), (late, _, _) = lm.extract(whole[:LIMIT]), lm.extract(whole[1 : LIMIT + 1])
        clip = lm.clip(AudioRef(path=str(path)))
        assert (clip.frames, clip.tokens) == (frames, tokens) == (150, 37)
        torch.testing.assert_close(clip.mel_MF, cut, atol=0 if rate == 16_000 else 1e-5, rtol=0)
        assert (late - cut).abs().max() > 1e-3
        assert lm.clip(AudioRef(path=str(path), start=0.5)).key != clip.key
        assert len(encode_example(lm, Example(AudioRef(path=str(path)), PROMPT)).clip.spans) == 1
    assert len(lm.truncated) == 4
    assert sum(lm.truncated.values()) == pytest.approx(4.5 + 4.0 + 5.0 + 4.5, abs=1e-3)
    assert "4 clips" in str(lm.truncation_note)
    assert "18.0 s in all" in str(lm.truncation_note)


def test_error_names_the_clip_its_length_and_the_remedies(lm: AudioLM) -> None:
    for seconds in (3.1, 200.0):  # refused after decoding, and by the header
        with pytest.raises(
            InputError, match=rf"clip-4.wav' lasts {seconds:.2f} s.*at most 3 s: set long_audio to split"
        ):
            lm.clip(make_clip(4, seconds))
    lm.long_audio = "split"
    with pytest.raises(InputError, match="context of 512"):
        encode_example(lm, Example(make_clip(4, 60.0), PROMPT))
    with pytest.raises(AudioError, match="at most 600 s"):
        lm.clip(make_clip(4, 601.0))


def test_modes_do_not_share_clips_or_states(lm: AudioLM) -> None:
    audio = make_clip(3, 5.0)
    lm.freeze_audio()
    lm.long_audio = "split"
    split = lm.clip(audio)
    lm.long_audio = "truncate"
    cut = lm.clip(audio)
    assert split.key != cut.key
    sizes = [len(x) for x in lm.audio_embeddings([split, cut])]
    assert sizes == [split.tokens, cut.tokens]
    assert split.tokens > cut.tokens
    lm.long_audio = "error"
    with pytest.raises(InputError, match="hears at most"):
        lm.clip(audio)


def test_a_survey_tells_before_the_first_step(lm: AudioLM) -> None:
    audios = [make_clip(i, seconds) for i, seconds in enumerate((1.0, 3.0, 4.0, 6.5))]
    assert survey(lm, audios[:2]).note is None
    for mode, words in (("error", "refuses them"), ("split", "in several spans"), ("truncate", "cuts 4.5 s in all")):
        lm.long_audio = mode  # type: ignore[assignment]
        found = survey(lm, [*audios, audios[3]])
        assert (found.clips, found.long, found.longest) == (4, 2, 6.5)
        assert "2 of 4 clips last longer than the 3 s that the model hears (the longest 6.5 s)" in str(found.note)
        assert words in str(found.note)


def test_placeholders_and_vectors_must_be_as_many(lm: AudioLM) -> None:
    row = encode_example(lm, Example(make_clip(1, 1.0), PROMPT))
    audio_SH = lm.audio_embeddings([row.clip])[0]
    place_audio(lm, torch.tensor(row.prompt), audio_SH)
    for wrong in (audio_SH[:-1], torch.cat([audio_SH, audio_SH[:1]])):
        with pytest.raises(AssertionError, match=f"{row.clip.tokens} audio placeholders.*but {len(wrong)} audio"):
            place_audio(lm, torch.tensor(row.prompt), wrong)
    swapped = Encoded(lm.clip(make_clip(1, 2.0)), row.prompt)
    with pytest.raises(AssertionError, match="audio placeholders"):
        embed(lm, collate(lm, [swapped]))


def test_the_published_qwen2_audio_hears_thirty_seconds(processor: Any) -> None:
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

    published = copy.copy(processor)
    published.feature_extractor = WhisperFeatureExtractor(feature_size=128)
    config = Qwen2AudioConfig(audio_token_index=processor.tokenizer.convert_tokens_to_ids("<|AUDIO|>"))
    config.audio_config.encoder_layers = config.text_config.num_hidden_layers = 1
    config.text_config.layer_types = config.text_config.layer_types[:1]
    with torch.device("meta"):
        lm = wrap_model(Qwen2AudioForConditionalGeneration(config), published)
    assert lm.max_seconds == 30
    lm.long_audio = "split"
    clip = lm.clip(make_clip(1, 75.0))
    assert [(span.frames, span.tokens) for span in clip.spans] == [(3000, 750), (3000, 750), (1500, 375)]


def test_a_responder_is_told_what_to_do_with_long_audio(lm: AudioLM, capsys: pytest.CaptureFixture[str]) -> None:
    short, long = make_clip(3, 3.0), make_clip(3, 7.3)
    greedy = Sampling(max_new_tokens=4)
    plain = LocalResponder(lm)
    with pytest.raises(InputError, match="set long_audio"):
        list(plain.respond([Request("q", long, PROMPT)], greedy))
    names = {plain.name}
    for way in ("split", "truncate"):
        responder = LocalResponder(copy.copy(lm), long_audio=way)
        assert [r.request_id for r in responder.respond([Request("q", long, PROMPT)], greedy)] == ["q"]
        names.add(responder.name)
    assert len(names) == 3, "answers are cached by the name"
    assert "1 clip" in capsys.readouterr().err
    list(LocalResponder(lm, long_audio="truncate").respond([Request(x, short, PROMPT) for x in "ab"], greedy))
    assert "clip" not in capsys.readouterr().err
    with pytest.raises(InputError, match="long_audio must be one of error, split, truncate; found 'cut'"):
        LocalResponder(lm, long_audio="cut")  # type: ignore[arg-type]
