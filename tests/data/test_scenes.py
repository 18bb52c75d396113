"""The scenes source: what it says is true, nothing gives the answer away, and it is reproducible."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.stats import binomtest

from sari_data.errors import InputError, MissingFileError
from sari_data.sources.scenes import ACOUSTICS, Options, generate, synth
from sari_data.sources.scenes.clips import Folder, Synthesizer
from sari_data.sources.scenes.compose import Event, compose
from sari_data.sources.scenes.families import FAMILIES
from sari_data.types import AudioQuestion


def family(question: AudioQuestion) -> str:
    return question.provenance.made_by["question"].rsplit("/", 1)[1]


@pytest.fixture(scope="module")
def questions() -> list[AudioQuestion]:
    """Many questions for what is said in words; their sound is left out, which takes nine tenths of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sari_data.sources.scenes.compose", lambda *_, **__: (np.zeros(160, np.float32), []))
        patch.setattr("joblib.cpu_count", lambda: 1)
        return list(generate(Options(questions={"sound": 440, "music": 400, "speech": 480}), seed=3))


def heard(question: AudioQuestion) -> list[list[str]]:
    """The caption as a list of events, each a list of words: read back from the text alone."""
    listed = (question.caption or "").split(";")[0].replace(", then ", ", ")
    return [event.split() for event in listed.split(", ")]


def oracle(question: AudioQuestion) -> str:
    """Answer from the caption and the question's text, by other means than the source's own."""
    events, name = heard(question), family(question)
    labels, marks = [e[-1] for e in events], [e[0] for e in events]
    words = re.findall(r"\w+", question.question)
    target = next((w for w in reversed(words) if w in labels), "")
    if name == "which":
        return next(c for c in question.choices if c in labels)
    if name in ("first", "last"):
        return labels[0 if name == "first" else -1]
    if name in ("after", "before"):
        return labels[labels.index(target) + (1 if name == "after" else -1)]
    if name == "count":
        return str(labels.count(target)) if target else "0"
    if name == "count_all":
        return str(len(events))
    if name in ("count_different", "count_voices"):
        return str(len(set(labels if name == "count_different" else marks)))
    if name == "same":
        return "yes" if labels[0] == labels[-1] else "no"
    if name == "same_voice":
        return "yes" if marks[0] == marks[-1] else "no"
    if name in ("longest", "loudest", "highest"):
        return labels[marks.index({"longest": "long", "loudest": "loud", "highest": "high"}[name])]
    if name == "higher_lower":
        difference = np.sign(["low", "middle", "high"].index(marks[-1]) - ["low", "middle", "high"].index(marks[0]))
        return {1: "higher", -1: "lower", 0: "the same"}[int(difference)]
    if name == "count_high":
        return str(marks.count("high"))
    if name == "rhythm":
        return " ".join(marks)
    if name == "tempo":
        return str(question.caption).rsplit(" ", 1)[1]
    if name == "who":
        return marks[labels.index(target)]
    numbers = [int(x) for x in labels]
    return str({"total": sum, "largest": max, "smallest": min}[name](numbers))


def test_every_answer_follows_from_its_caption(questions: list[AudioQuestion]) -> None:
    assert {(q.domain, family(q)) for q in questions} == {(d, f) for d in FAMILIES for f in FAMILIES[d]}
    for question in questions:
        assert question.answer == oracle(question), (family(question), question.question, question.caption)


def test_chains_end_in_the_answer_and_say_what_is_heard(questions: list[AudioQuestion]) -> None:
    for question in questions:
        chain = question.reasoning.structured
        assert chain is not None
        assert chain.caption == question.caption
        assert question.caption in str(question.reasoning.unstructured)
        if question.answer not in ("yes", "no"):
            assert question.answer in chain.summary
        # A plan that held the answer would teach the model to decide before it listens. (A spoken
        # number that is counted may equal its count.)
        if family(question) != "count":
            assert question.answer not in chain.planning.rstrip(".").split()


def test_neither_position_nor_length_gives_the_answer_away(questions: list[AudioQuestion]) -> None:
    for options in (2, 3, 4):
        group = [q for q in questions if len(q.choices) == options]
        for position in range(options):
            hits = sum(q.answer_index == position for q in group)
            assert binomtest(hits, len(group), 1 / options).pvalue > 0.001, (options, position, hits, len(group))
    longest, shortest, chance = 0, 0, 0.0
    for q in questions:
        lengths = [len(c) for c in q.choices]
        tied_long, tied_short = lengths.count(max(lengths)), lengths.count(min(lengths))
        gold = len(str(q.answer))
        longest += (gold == max(lengths)) / tied_long
        shortest += (gold == min(lengths)) / tied_short
        chance += 1 / len(q.choices)
    # Three standard deviations of a guess on this many questions; a bias of 6 points would show.
    bound = 3 * np.sqrt(0.25 * len(questions)) / len(questions)
    assert abs(longest - chance) / len(questions) < bound
    assert abs(shortest - chance) / len(questions) < bound


def test_answers_of_a_family_are_balanced() -> None:
    options = Options(questions={"sound": 240}, families={"sound": ("count", "same")})
    answers = Counter((family(q), q.answer) for q in generate(options, seed=0))
    assert set(answers) == {*(("count", str(n)) for n in range(1, 5)), ("same", "yes"), ("same", "no")}
    for (name, _), times in answers.items():
        assert binomtest(times, 120, 0.25 if name == "count" else 0.5).pvalue > 0.001


def test_same_seed_same_bytes_and_a_longer_run_starts_alike() -> None:
    short = list(generate(Options(questions={"sound": 6, "speech": 6}), seed=5))
    long = list(generate(Options(questions={"sound": 12, "speech": 12}), seed=5))
    assert short == long[: len(short)]
    other = list(generate(Options(questions={"sound": 6, "speech": 6}), seed=6))
    assert not {q.audio.key for q in short} & {q.audio.key for q in other}


def test_processes_side_by_side_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fewer in each chunk and window, so that few questions are many of both.
    for name, number in (("_WORTH_A_PROCESS", 20), ("_CHUNK", 4), ("_CHUNKS", 2)):
        monkeypatch.setattr(f"sari_data.sources.scenes.{name}", number)
    many = Options(questions={"sound": 15, "music": 11, "speech": 15})
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    alone = list(generate(many, seed=5))
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    assert list(generate(many, seed=5)) == alone
    # An error of theirs is the caller's, and what nobody waits for any more leaves no warning behind.
    with pytest.raises(InputError, match=r"^\d events of .* do not fit into a scene of 1 s$"):
        list(generate(Options(questions={"speech": 45}, events={"speech": (9, 9)}, seconds=1.0), seed=0))
    assert list(islice(generate(many, seed=5), 3)) == alone[:3]


def test_lengths_and_levels_are_as_said() -> None:
    rng = np.random.default_rng(0)
    events = [Event("bell", long=False, loud=False), Event("rain", long=True, loud=True), Event("horn", long=False)]
    wave, placed = compose(Synthesizer(), "sound", events, ACOUSTICS["corpus"], rng, seconds=3)
    assert 1.2 * placed[0].seconds < placed[1].seconds
    for p in placed:
        part = wave[int(p.start * synth.RATE) : int((p.start + p.seconds) * synth.RATE)]
        level = 20 * np.log10(np.sqrt(np.mean(part.astype(float) ** 2)))
        assert level == pytest.approx(p.level_db, abs=0.2)
    assert placed[1].level_db - placed[0].level_db > 8
    ends = [p.start + p.seconds for p in placed]
    assert all(start.start > end for start, end in zip(placed[1:], ends, strict=False))


@pytest.mark.parametrize("register", list(synth.REGISTERS))
@pytest.mark.parametrize("timbre", list(synth.TIMBRES))
def test_notes_have_the_pitch_of_their_register(timbre: str, register: str) -> None:
    wave = synth.note(timbre, register, np.random.default_rng(1), 0.5)
    low, high = synth.REGISTERS[register]
    # Autocorrelation through the power spectrum, with sixteen points between samples: high notes last few samples.
    part = wave[2000:6000].astype(float)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(part, 8192)) ** 2, 8192 * 16)
    lags = np.arange(len(correlation)) / 16
    window = (lags > synth.RATE / 1100) & (lags < synth.RATE / 150)
    # The shortest lag that repeats nearly as well as the best one is the period.
    period = lags[window & (correlation > 0.93 * correlation[window].max())][0]
    assert low * 0.98 <= synth.RATE / period <= high * 1.05


def test_the_synthesizer_is_as_rich_as_promised() -> None:
    assert len(synth.SOUNDS) >= 12
    assert len(synth.TIMBRES) >= 4
    assert len(synth.VOICES) >= 3
    rng = np.random.default_rng(0)
    for label in synth.SOUNDS:
        wave = synth.sound(label, rng, 0.3)
        assert wave.dtype == np.float32
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() > 0.01
        assert not np.array_equal(wave, synth.sound(label, rng, 0.3)), "two clips of a class must differ"


def test_too_many_events_for_the_time_are_refused() -> None:
    events = [Event("bell", long=True)] * 8
    with pytest.raises(InputError, match=r"8 events of .* do not fit into a scene of 3 s"):
        compose(Synthesizer(), "sound", events, ACOUSTICS["corpus"], np.random.default_rng(0), seconds=3)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for digit in range(5):
        for voice in ("ann", "bob"):
            for take in range(2):
                wave = synth.word(str(digit), "man", rng, 0.3)
                soundfile.write(tmp_path / f"{digit}_{voice}_{take}.wav", wave[::2], synth.RATE // 2)
    return tmp_path


PATTERN = r"(?P<label>\d)_(?P<voice>\w+)_\d+"


def test_scenes_from_recordings_hold_out_a_speaker(recordings: Path) -> None:
    table = {"folder": str(recordings), "pattern": PATTERN, "without_voices": ["bob"], "licence": "CC0-1.0"}
    options = Options.model_validate({"questions": {"speech": 24}, "recordings": table})
    made = list(generate(options, seed=0))
    assert {family(q) for q in made} == set(FAMILIES["speech"]) - {"who", "count_voices", "same_voice"}
    assert all(q.answer == oracle(q) for q in made if family(q) != "total" or q.caption)
    assert "bob" not in " ".join(str(q.caption) for q in made)
    assert {q.provenance.licence for q in made} == {"CC0-1.0"}
    data, rate = soundfile.read(io.BytesIO(made[0].audio.data or b""))
    assert rate == synth.RATE
    assert len(data) / rate <= 3


def test_a_labels_csv_serves_as_well_as_a_pattern(recordings: Path, tmp_path: Path) -> None:
    by_name = Folder(recordings, "speech", pattern=PATTERN)
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "voice"])
        for path in sorted(recordings.glob("*.wav")):
            rows.writerow([path.name, *path.stem.split("_")[:2]])
    by_csv = Folder(recordings, "speech", labels_csv=table)
    assert by_csv.labels("speech") == by_name.labels("speech") == ["0", "1", "2", "3", "4"]
    assert by_csv.voices("speech") == by_name.voices("speech") == ["ann", "bob"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": "no/such/folder"}, "does not exist"),
        ({"pattern": r"(\d)_.*"}, r"needs a group \(\?P<label>"),
        ({"pattern": "("}, "is not a regular expression"),
        ({"pattern": "(?P<label>x+)"}, r"none of 20 audio files has a name that fits"),
        ({"only_voices": ["eve"]}, r"no recordings of \['eve'\]; found the voices \['ann', 'bob'\]"),
        ({"pattern": None}, "exactly one of the two"),
    ],
)
def test_wrong_recordings_get_one_clear_sentence(recordings: Path, change: dict[str, object], message: str) -> None:
    table = {"folder": str(recordings), "pattern": PATTERN, **change}
    options = Options.model_validate({"questions": {"speech": 4}, "recordings": table})
    with pytest.raises((InputError, MissingFileError), match=message):
        list(generate(options, seed=0))


def test_families_that_the_clips_do_not_allow_are_refused(recordings: Path) -> None:
    table = {"folder": str(recordings), "pattern": PATTERN}
    asked = Options.model_validate(
        {"questions": {"sound": 4}, "recordings": {**table, "domain": "sound"}, "families": {"sound": ["longest"]}}
    )
    with pytest.raises(InputError, match=r"do not allow the families \['longest'\]"):
        list(generate(asked, seed=0))
    with pytest.raises(InputError, match="asks for music, but the clips have none"):
        list(generate(Options.model_validate({"questions": {"music": 1}, "recordings": table}), seed=0))


def test_real_spoken_digits_make_scenes(shared_data: Path) -> None:
    table = {"folder": str(shared_data / "fsdd" / "recordings"), "pattern": PATTERN, "only_voices": ["theo"]}
    options = Options.model_validate({"questions": {"speech": 24}, "recordings": table})
    made = list(generate(options, seed=0))
    assert all(q.answer == oracle(q) for q in made)


def relabelled(recordings: Path, domain: str, labels: tuple[str, ...], count: int = 30, voiced: bool = True) -> list:
    """Scenes from the recordings under other labels, one for each digit; without voices where asked."""
    rows = [(p.name, labels[int(p.stem[0])], p.stem.split("_")[1]) for p in sorted(recordings.glob("*.wav"))]
    with (recordings / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "voice"), *(row if voiced else (*row[:2], "") for row in rows)])
    table = {"folder": str(recordings), "labels_csv": str(recordings / "labels.csv"), "domain": domain}
    return list(generate(Options.model_validate({"questions": {domain: count}, "recordings": table}), seed=0))


WORDS = ("cat", "house", "tree", "yes", "no")


def test_words_are_not_called_numbers_and_voices_keep_their_names(recordings: Path) -> None:
    made = relabelled(recordings, "speech", WORDS)
    texts = [f"{q.question} {q.reasoning.unstructured} {q.reasoning.structured}" for q in made]
    assert not any("number" in text.replace("number each", "").replace("number only", "") for text in texts)
    assert not re.search(r"\bthe (ann|bob)\b", " ".join(texts), re.IGNORECASE)
    assert {"who", "same_voice"} <= {family(q) for q in made}


def test_recordings_of_music_are_not_called_notes(recordings: Path) -> None:
    made = relabelled(recordings, "music", WORDS, count=15)
    assert "count_all" in {family(q) for q in made}
    assert not any("note" in q.question for q in made)


def test_labels_of_several_words_and_with_commas_stay_whole(recordings: Path) -> None:
    labels = ("dog bark", "Door, knock", "engine: idle", " car  horn", "glass\nbreaking")
    made = relabelled(recordings, "sound", labels, count=45, voiced=False)
    names = {"dog bark", "Door, knock", "engine: idle", "car horn", "glass breaking"}
    assert {c for q in made if family(q) == "first" for c in q.choices} == names
    for question in made:
        text = str(question.caption)
        events = re.split("; " if "Door, knock" in text else "(?:, then |, )", text)
        assert {event.removeprefix("loud ").removeprefix("soft ") for event in events} <= names
        if family(question) == "count_all":
            assert question.answer == str(len(events))


def test_zero_padded_numbers_are_not_reckoned_with(recordings: Path) -> None:
    made = relabelled(recordings, "speech", ("00", "01", "02", "03", "04"))
    assert not {family(q) for q in made} & {"total", "largest", "smallest"}


def test_distractors_of_a_sum_are_near_it_whatever_the_numbers(recordings: Path) -> None:
    made = [q for q in relabelled(recordings, "speech", ("10", "25", "40", "70", "90"), 60) if family(q) == "total"]
    assert made
    for question in made:
        values = sorted(int(c) for c in question.choices)
        assert values == list(range(values[0], values[0] + 4))


def test_a_voice_that_lacks_a_label_does_not_say_it(recordings: Path) -> None:
    for path in recordings.glob("[0-2]_bob_*.wav"):
        path.unlink()
    table = {"folder": str(recordings), "pattern": PATTERN}
    made = list(generate(Options.model_validate({"questions": {"speech": 36}, "recordings": table}), seed=0))
    assert not {family(q) for q in made} & {"who", "count_voices", "same_voice"}


def test_one_is_not_spoken_of_as_many(questions: list[AudioQuestion]) -> None:
    ones = [q for q in questions if q.answer == "1" and q.reasoning.structured]
    assert ones
    assert not any("are 1" in str(q.reasoning.structured) for q in ones)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a", "b", "c", "d", "<answer>"), r"without '<' and '>' .* found '<answer>'"),
        (("a", "b", "c", "d", "A"), "the labels 'A' and 'a' read the same"),
        (("a", "b", "c", "d", ""), "row 18 needs a file and a label"),
    ],
)
def test_labels_that_no_question_can_be_asked_with(recordings: Path, labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        relabelled(recordings, "sound", labels)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"file,label\n0_ann_0.wav\n", "row 2 needs a file and a label"),
        ("file,label\n0_ann_0.wav,été\n".encode("latin-1"), "expected a CSV in UTF-8"),
        (b"", r"found \[\]"),
    ],
)
def test_a_labels_csv_that_is_none(recordings: Path, body: bytes, message: str) -> None:
    (recordings / "labels.csv").write_bytes(body)
    with pytest.raises(InputError, match=message):
        Folder(recordings, "sound", labels_csv=recordings / "labels.csv")


@pytest.mark.parametrize("change", [{"questions": {"sound": -1}}, {"events": {"sound": (5, 3)}}])
def test_options_that_make_no_scene(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="sound must"):
        Options.model_validate(change)
