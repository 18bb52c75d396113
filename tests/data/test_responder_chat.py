"""What is sent to a chat server and what its replies mean."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.audio import encode_wav, load_audio
from sari_data.responder import Request, Sampling
from sari_data.responders.chat import (
    Form,
    MalformedReply,
    WithheldAnswer,
    encode_audio,
    end_at_stop,
    read_reply,
    sample_seed,
    write_body,
)
from sari_data.types import AudioRef

FORM = Form(model="toy")
STOP = ("</answer>",)


def body(
    request: Request, sampling: Sampling, form: Form = FORM, samples: list[int] | None = None, audio: str | None = None
):
    return json.loads(write_body(request, samples or [0], sampling, form, [] if audio is None else [audio]))


def reply(text, reason="stop", **choice) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"message": message, "finish_reason": reason, **choice}]}).encode()


def test_a_greedy_request_holds_what_every_server_knows_and_no_more():
    assert body(Request("q", None, "Hello"), Sampling()) == {
        "model": "toy",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 256,
        "temperature": 0.0,
        "stop": ["</answer>"],
    }


def test_a_drawn_request_has_its_seed_and_the_limits_that_were_set():
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, max_new_tokens=9, seed=3, stop=())
    sent = body(Request("q", None, "Hello"), sampling, samples=[4])
    assert (sent["temperature"], sent["top_p"], sent["top_k"], sent["min_p"]) == (0.7, 0.9, 40, 0.05)
    assert sent["seed"] == sample_seed(3, "q", 4)
    assert not {"stop", "n"} & set(sent)
    plain = body(Request("q", None, "Hello"), Sampling(temperature=1.0))
    assert not {"top_p", "top_k", "min_p"} & set(plain)


@given(st.integers(0, 2**63), st.text(max_size=20), st.integers(0, 10_000))
def test_a_seed_fits_every_server_and_depends_on_its_three_parts(seed, id_, sample):
    found = sample_seed(seed, id_, sample)
    assert 0 <= found < 2**31
    assert found == sample_seed(seed, id_, sample)
    assert len({found, sample_seed(seed + 1, id_, sample), sample_seed(seed, id_ + "x", sample)}) > 1


def test_system_prompt_extra_fields_and_omitted_ones():
    form = Form(
        "toy", system="Be brief.", extra_body={"max_completion_tokens": 5, "temperature": 1}, omit=("max_tokens",)
    )
    sent = body(Request("q", None, "Hello"), Sampling(), form)
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (sent["max_completion_tokens"], sent["temperature"]) == (5, 1)
    assert "max_tokens" not in sent


def test_everything_that_decides_an_answer_is_in_the_digest():
    changes = [
        {"system": "x"},
        {"extra_body": {"a": 1}},
        {"extra_body": {"a": 2}},
        {"omit": ("seed",)},
        {"audio_format": "mp3"},
        {"audio_part": "audio_url"},
        {"sampling_rate": 8000},
        {"max_seconds": 3.0},
        {"samples_per_request": 4},
    ]
    digests = {FORM.digest, *(replace(FORM, **change).digest for change in changes)}
    assert len(digests) == len(changes) + 1
    assert replace(FORM, model="other").digest == FORM.digest
    assert set(Form.__slots__) == {"model", *(name for change in changes for name in change)}


SAMPLES = (np.sin(np.arange(16_000) / 20) * 0.5).astype(np.float32)
CLIP = AudioRef(data=encode_wav(SAMPLES, 16_000))


def test_audio_goes_before_the_text_and_arrives_exactly():
    audio = encode_audio(CLIP, FORM)
    content = body(Request("q", CLIP, "What?"), Sampling(), audio=audio)["messages"][0]["content"]
    assert content[1] == {"type": "text", "text": "What?"}
    assert content[0] == {"type": "input_audio", "input_audio": {"data": audio, "format": "wav"}}
    heard = load_audio(AudioRef(data=base64.b64decode(audio)), 16_000)
    assert np.array_equal(heard, load_audio(CLIP, 16_000))


def test_audio_as_a_url_at_another_rate_and_only_the_part_that_is_meant():
    form = replace(FORM, audio_part="audio_url", sampling_rate=8000, max_seconds=0.25)
    part = AudioRef(data=CLIP.data, start=0.5, duration=0.4)
    audio = encode_audio(part, form)
    content = body(Request("q", part, "What?"), Sampling(), form, audio=audio)["messages"][0]["content"]
    assert content[0]["audio_url"]["url"] == f"data:audio/wav;base64,{audio}"
    heard = load_audio(AudioRef(data=base64.b64decode(audio)), 8000)
    assert heard.size == 2000
    assert np.corrcoef(heard[100:-100], load_audio(part, 8000)[100:1900])[0, 1] > 0.999


def test_mp3_is_smaller_and_still_the_same_sound():
    audio = encode_audio(CLIP, replace(FORM, audio_format="mp3"))
    assert len(audio) < len(encode_audio(CLIP, FORM)) / 3
    heard = load_audio(AudioRef(data=base64.b64decode(audio)), 16_000)[:16_000]
    assert max(np.correlate(heard[:8000], SAMPLES[:8000], "same")) > 0.9 * np.sum(SAMPLES[:8000] ** 2)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        # vLLM names the string that ended the text; null is the model's own end.
        (reply("a <answer>B", stop_reason="</answer>"), "a <answer>B</answer>"),
        (reply("a <answer>B", stop_reason=None), "a <answer>B"),
        # SGLang names it too, or the id of the token.
        (reply("B", matched_stop="</answer>"), "B</answer>"),
        (reply("a <answer>B", matched_stop=151645), "a <answer>B"),
        # Others do not say; an open tag has one reading, no tag has none.
        (reply("a <answer>B"), "a <answer>B</answer>"),
        (reply("a B"), "a B"),
        # It was left in, or the server wrote on.
        (reply("<answer>B</answer>", stop_reason="</answer>"), "<answer>B</answer>"),
        (reply("<answer>B</answer> and so on", "length"), "<answer>B</answer>"),
        # Not at the end of its budget.
        (reply("a <answer>B", "length"), "a <answer>B"),
        (reply([{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]), "a b"),
        (reply(None, "length"), ""),
    ],
)
def test_a_stop_string_stays_part_of_the_text_whatever_the_server_does_with_it(data, text):
    (choice,) = read_reply(data, STOP).choices
    assert choice.text == text
    assert choice.finish_reason == ("length" if b'"length"' in data and "</answer>" not in text else "stop")


@given(st.text("ab<>/", max_size=30), st.lists(st.text("ab<>/", min_size=1, max_size=4), max_size=3))
def test_text_ends_with_the_first_stop_string(text, stop):
    cut, ended = end_at_stop(text, stop)
    assert text.startswith(cut)
    assert ended == any(string in text for string in stop)
    if ended:
        assert any(cut.endswith(string) for string in stop)
        assert not any(string in cut[:-1] for string in stop)
    else:
        assert cut == text


def test_tokens_are_read_where_they_are_told():
    counted = json.loads(reply("a")) | {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    found = read_reply(json.dumps(counted).encode(), ())
    assert (found.prompt_tokens, found.completion_tokens) == (7, 3)
    found = read_reply(json.dumps(counted | {"usage": {"prompt_tokens": "7"}}).encode(), ())
    assert (found.prompt_tokens, found.completion_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"choices": [', "not JSON"),
        (b"[]", "no object but list"),
        (b"{}", "without choices"),
        (b'{"choices": []}', "without choices"),
        (b'{"error": {"message": "busy"}}', "busy"),
        (b'{"choices": [7]}', "without a message"),
        (b'{"choices": [{"message": "hi"}]}', "without a message"),
        (reply(7), "no text but int"),
        (reply({"a": 1}), "no text but dict"),
        (reply("hi", None), "for the reason None"),
        (reply("hi", "abort"), "for the reason 'abort'"),
    ],
)
def test_a_reply_that_is_none_says_what_it_is(data, why):
    with pytest.raises(MalformedReply, match=why):
        read_reply(data, STOP)


def test_a_filter_and_a_refusal_are_no_answers():
    with pytest.raises(WithheldAnswer, match="content filter"):
        read_reply(reply("I", "content_filter"), STOP)
    refused = {"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}
    with pytest.raises(WithheldAnswer, match=r"refusal: No\."):
        read_reply(json.dumps(refused).encode(), STOP)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "finish_reason", "usage", "text"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["choices", "usage", "error"]), JSON).map(lambda v: json.dumps(v).encode())
    | st.binary()
)
def test_no_reply_breaks_the_reader(data):
    try:
        found = read_reply(data, STOP)
    except (MalformedReply, WithheldAnswer):
        return
    assert all(isinstance(choice.text, str) for choice in found.choices)
