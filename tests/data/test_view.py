"""The page of a corpus: what is in it, how large it may grow, and that texts stay texts."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from corpus_examples import CARD
from hypothesis import given
from hypothesis import strategies as st
from view_examples import HOSTILE, rated, scenes, write_example, write_hostile

from sari_data.errors import CorpusError, InputError, MissingFileError, StorageError
from sari_data.html_clips import SMALL_RATE
from sari_data.html_pages import json_for_script
from sari_data.rehydrate import without_audio
from sari_data.store import read_split, write_corpus
from sari_data.types import AudioRef, PassRate, Reasoning
from sari_data.view import ASIDE_ROWS, write_view
from sari_data.view_rows import problems

Run = Callable[..., tuple[int, str, str]]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("view") / "corpus", 6)


def _rows(page: str | Path) -> list[dict[str, Any]]:
    text = Path(page).read_text(encoding="utf-8")
    blocks = re.findall(r'<script type="application/json" class="rows">(.*?)</script>', text)
    return [row for block in blocks for row in json.loads(block)]


def _clips(page: str | Path) -> dict[int, bytes]:
    text = Path(page).read_text(encoding="utf-8")
    found = re.findall(r'<script type="text/plain" id="clip-(\d+)">([A-Za-z0-9+/=]*)</script>', text)
    return {int(number): base64.b64decode(data) for number, data in found}


def test_every_question_is_there_with_all_that_is_known_of_it(corpus: Path, tmp_path: Path) -> None:
    page = write_view(corpus, tmp_path / "p.html")
    rows = {row["id"]: row for row in _rows(page.path)}
    assert (page.rows, page.total) == (18, 18) == (len(rows), len(rows))
    for split in ("sft", "rl", "dev", "never_passed"):
        for question in read_split(corpus, split):
            row, chain = rows[question.id], question.reasoning.structured
            assert row["split"] == split
            assert row["question"] == question.question
            assert tuple(row["choices"]) == question.choices
            assert row["choices"][row["gold"]] == question.answer
            assert row["caption"] == question.caption
            assert row["structured"] == (chain and {n: getattr(chain, n) for n in row["structured"]})
            assert row["unstructured"] == question.reasoning.unstructured
            assert [rate["passes"] for rate in row["rates"]] == [rate.passes for rate in question.pass_rates]
            assert row["made"] == question.provenance.made_by
    video = next(row["video"] for row in rows.values() if row["video"]["id"])
    assert video == {"id": "Y0aBcDeFgH_", "from": 30.0, "to": 40.0}
    text = Path(page.path).read_text(encoding="utf-8")
    assert "18 questions · sft 6, rl 4, dev 6, never_passed 2 · audio: CC0-1.0 17, CC BY 4.0 1" in text
    assert page.size == len(text.encode())


def test_small_clips_are_mono_mp3_that_sound_the_same(corpus: Path, tmp_path: Path) -> None:
    page = write_view(corpus, tmp_path / "p.html")
    rows, clips = _rows(page.path), _clips(page.path)
    questions = {q.id: q for split in ("sft", "rl", "dev", "never_passed") for q in read_split(corpus, split)}
    assert page.clips == len(clips)
    heard = [row for row in rows if "clip" in row["audio"]]
    assert len(heard) == 17
    for row in heard:
        data = clips[row["audio"]["clip"]]
        assert row["audio"]["kind"] == "audio/mpeg"
        samples, rate = soundfile.read(io.BytesIO(data))
        original, before = soundfile.read(io.BytesIO(questions[row["id"]].audio.data or b""))
        assert (rate, samples.ndim) == (SMALL_RATE, 1)
        assert len(samples) / rate == pytest.approx(len(original) / before, abs=1e-3)
        assert (samples**2).mean() == pytest.approx((original**2).mean(), rel=0.2)
        assert len(data) < 8000 * len(samples) / rate + 1500


def test_a_clip_of_several_questions_is_inside_once(tmp_path: Path) -> None:
    first = scenes(1)[0]
    found = [first.replace(id=f"q{n}") for n in range(5)]
    write_corpus(tmp_path / "c", {"rl": found}, {}, card=CARD)
    page = write_view(tmp_path / "c", tmp_path / "p.html")
    assert page.clips == 1
    assert [row["audio"]["clip"] for row in _rows(page.path)] == [1] * 5


def test_full_audio_is_as_in_the_corpus_and_a_part_is_cut_out(tmp_path: Path) -> None:
    first, second = scenes(1)[:2]
    file = tmp_path / "second.wav"
    file.write_bytes(second.audio.data or b"")
    part = second.replace(audio=AudioRef(path=str(file), start=0.25, duration=0.5))
    write_corpus(tmp_path / "a", {"rl": [first]}, {}, card=CARD)
    write_corpus(tmp_path / "b", {"rl": [part]}, {}, card=CARD, embed=False)
    page = write_view(tmp_path / "a", tmp_path / "p.html", audio="full")
    assert list(_clips(page.path).values()) == [first.audio.data]
    for audio in ("full", "small"):
        page = write_view(tmp_path / "b", tmp_path / "p.html", audio=audio)
        samples, rate = soundfile.read(io.BytesIO(_clips(page.path)[1]))
        assert len(samples) / rate == pytest.approx(0.5, abs=1e-3)
    file.unlink()
    page = write_view(tmp_path / "b", tmp_path / "p.html", audio="full")
    assert page.unreadable == 1
    assert "expected an audio file there, found none" in _rows(page.path)[0]["audio"]["none"]


def test_the_page_is_bounded_and_says_what_it_left_out(corpus: Path, tmp_path: Path) -> None:
    whole = write_view(corpus, tmp_path / "p.html")
    sizes = sum(map(len, _clips(whole.path).values()))
    half = write_view(corpus, tmp_path / "p.html", audio_mib=sizes / 2 / 2**20)
    inside = sum(map(len, _clips(half.path).values()))
    assert sizes / 3 < inside <= sizes / 2
    assert half.clips + half.left_out + half.unreadable == whole.clips + whole.unreadable
    said = [row["audio"].get("none", "") for row in _rows(half.path)]
    assert sum("the page was full" in text.lower() for text in said) == half.left_out
    none = write_view(corpus, tmp_path / "p.html", audio="none")
    assert (none.clips, _clips(none.path)) == (0, {})
    assert none.size < whole.size / 3


def test_a_choice_of_rows_is_seeded_and_spread_over_the_corpus(corpus: Path, tmp_path: Path) -> None:
    def ids(**options: Any) -> list[str]:
        return [row["id"] for row in _rows(write_view(corpus, tmp_path / "p.html", audio="none", **options).path)]

    everything = ids()
    assert ids(rows=18) == everything
    drawn = {tuple(ids(rows=5, seed=seed)) for seed in range(5)}
    assert len(drawn) > 1
    assert all(list(found) == [id for id in everything if id in found] for found in drawn), "in the corpus's order"
    assert set(ids(rows=3)) < set(ids(rows=7)) < set(everything)
    assert "5 of 18 questions, chosen with seed 4" in Path(
        write_view(corpus, tmp_path / "p.html", rows=5, seed=4).path
    ).read_text(encoding="utf-8")
    assert ids(splits=["dev", "sft"]) == [q.id for s in ("sft", "dev") for q in read_split(corpus, s)]
    assert ids(splits=["rl"], rows=2) == [id for id in everything if id in ids(splits=["rl"], rows=2)]


def test_the_story_of_the_build_and_what_it_set_aside_are_told(tmp_path: Path) -> None:
    aside = [
        {"stage": "collect", "reason": "audio is missing", "id": f"x{n}", "detail": "looked <b>there</b>",
         "provenance": {"dataset": "AudioSet"}}
        for n in range(ASIDE_ROWS + 3)
    ]  # fmt: skip
    funnel = [{"stage": "collect audioset", "unit": "items", "in": 1503, "out": 1000, "made": "items",
               "dropped": {"audio is missing": 503}}]  # fmt: skip
    write_corpus(tmp_path / "c", {"rl": scenes(1)}, {"funnel": funnel}, card=CARD, set_aside=map(json.dumps, aside))
    text = Path(write_view(tmp_path / "c", tmp_path / "p.html", audio="none").path).read_text(encoding="utf-8")
    assert "How it was made, and the 503 set aside" in text
    assert "<td>1,503 items</td><td>1,000 items</td><td>503 audio is missing</td>" in text
    assert f"the first {ASIDE_ROWS} of 503" in text
    assert text.count("<td>AudioSet</td>") == ASIDE_ROWS
    assert "looked &lt;b&gt;there&lt;/b&gt;" in text
    (tmp_path / "c" / "side" / "set_aside.jsonl").write_text("no json")
    with pytest.raises(CorpusError, match="expected JSON lines about what was set aside, found 'no json'"):
        write_view(tmp_path / "c", tmp_path / "p.html", audio="none")


def test_a_corpus_without_some_of_its_audio_says_how_to_get_it(corpus: Path, tmp_path: Path) -> None:
    without_audio(corpus, tmp_path / "c", lambda dataset: dataset == "AudioSet")
    page = write_view(tmp_path / "c", tmp_path / "p.html")
    rows = {row["source"]: row for row in _rows(page.path)}
    assert "sari-data rehydrate" in rows["AudioSet"]["audio"]["none"]
    assert "audio is not in the corpus" in rows["AudioSet"]["problems"]
    assert (page.clips, page.unreadable) == (16, 1)


def test_what_one_may_want_to_look_at_is_named() -> None:
    good = scenes(1)[0]
    assert problems(good, "sft") == []
    assert problems(rated(good, 3), "rl") == []
    assert problems(rated(good, 0), "rl") == ["never passed"]
    assert problems(rated(good, 8), "rl") == ["always passed"]
    assert problems(good, "rl") == ["no pass rate"]
    assert problems(good, "rl", calibrated=False) == []
    assert problems(rated(good, 0), "never_passed") == ["never passed", "set aside: never passed"]
    assert problems(good.replace(reasoning=Reasoning(None, "free")), "sft") == ["no structured chain"]
    assert problems(good.replace(flags=("near_duplicate",)), "dev") == ["flag: near duplicate"]
    assert problems(good.replace(caption=None), "dev") == ["no caption"]
    assert problems(good.replace(choices=("a", "a"), answer=None), "dev") == ["no gold answer", "an option twice"]
    later = rated(good, 0).replace(pass_rates=(*rated(good, 0).pass_rates, PassRate(2, 4, "other", "direct", 1)))
    assert problems(later, "rl") == [], "the latest measurement counts"


def test_no_text_ends_its_script_and_the_policy_names_the_pages_own(tmp_path: Path) -> None:
    page = write_view(write_hostile(tmp_path / "c"), tmp_path / "p.html")
    text = Path(page.path).read_text(encoding="utf-8")
    assert len(_rows(page.path)) == len(HOSTILE)
    assert [row["question"] for row in _rows(page.path)] == list(HOSTILE)
    blocks = len(re.findall(r'<script type="(?:application/json" class="rows|text/plain" id="clip-\d+)">', text))
    assert text.lower().count("<script") == text.lower().count("</script") == blocks + 1
    assert "\u2028" not in text
    assert "<!--" not in text
    assert "<img" not in text
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert f"script-src 'sha256-{digest}';" in policy[1]
    assert "default-src 'none'" in policy[1]
    assert "http" not in policy[1]


@given(JSON)
def test_json_for_a_script_is_the_same_value_and_plain_characters(value: Any) -> None:
    text = json_for_script(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not set("<>&'") & set(text)


def test_what_cannot_be_shown_is_one_sentence_and_leaves_the_older_page(corpus: Path, tmp_path: Path) -> None:
    target = tmp_path / "p.html"
    target.write_text("older")
    with pytest.raises(InputError, match=r"expected splits among \['sft', 'rl', 'dev', .*\], found \['x'\]"):
        write_view(corpus, target, splits=["x", "rl"])
    with pytest.raises(InputError, match="one or more questions to show, found 0"):
        write_view(corpus, target, rows=0)
    with pytest.raises(MissingFileError):
        write_view(tmp_path / "nowhere", target)
    damaged = write_example(tmp_path / "damaged", 4)
    shard = next((damaged / "data").glob("dev-*"))
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(CorpusError, match="cannot be read"):
        write_view(damaged, target)
    assert target.read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["damaged", "p.html"]
    with pytest.raises(StorageError):
        write_view(corpus, target / "below.html")


def test_rows_are_not_held(tmp_path: Path) -> None:
    first = scenes(1)[0]

    def most(count: int) -> int:
        found = (first.replace(id=f"q{n}", caption=f"{n} " * 4000) for n in range(count))
        write_corpus(tmp_path / f"c{count}", {"rl": found}, {}, card=CARD)
        tracemalloc.start()
        try:
            write_view(tmp_path / f"c{count}", tmp_path / "p.html", audio="none")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most(100)
    small, large = most(200), most(800)
    assert large < small + 3 * 2**20, f"{small} bytes for 200 rows, {large} for 800"


def test_the_command_writes_beside_the_folder_and_says_what(corpus: Path, tmp_path: Path, run_command: Run) -> None:
    code, out, err = run_command("sari-data", "view", corpus)
    page = corpus.parent / "corpus.html"
    assert (code, out) == (0, f"page: {page}\n")
    assert "18 of 18 questions, 17 clips" in err
    assert "clips that cannot be decoded: 1" in err
    options = ["--rows", "4", "--split", "rl", "--audio", "none", "--json"]
    code, out, _ = run_command("sari-data", "view", corpus, "--out", tmp_path / "q.html", *options)
    assert code == 0
    assert json.loads(out)["rows"] == 4
    assert json.loads(out)["path"] == str(tmp_path / "q.html")
    code, _, err = run_command("sari-data", "view", corpus, "--audio", "loud")
    assert code == 2
    assert "expected --audio small, full or none, found 'loud'" in err
    code, _, err = run_command("sari-data", "view", corpus, "--out", tmp_path)
    assert code == 2
    assert "expected a file for the page, found a folder" in err
