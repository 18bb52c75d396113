"""What sources share: the index of audio, the choice of clips, the readers of tables, the dealing of options."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_audio import write_clips

from sari_data.errors import InputError, MissingFileError
from sari_data.sources import readers
from sari_data.sources.base import SetAside
from sari_data.sources.files import MISSING, UNREADABLE, AudioIndex, choose, take
from sari_data.sources.readers import read_csv, read_json_array, read_json_lines
from sari_data.sources.rules import options_for
from sari_data.types import Provenance


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_the_index_finds_names_in_all_folders_and_prefers_what_is_decoded_best(tmp_path: Path) -> None:
    _touch(tmp_path, "-x_1_30.flac", "deep/er/-x_1_30.WAV", "deep/b.mp3", "notes.txt", "c.m4a", "d.m4a", "d.ogg")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    index = AudioIndex(tmp_path, ["<id>"])
    assert len(index) == 6
    assert index.find(["absent", "-x_1_30"]) == tmp_path / "deep/er/-x_1_30.WAV"
    assert index.find(["d"]) == tmp_path / "d.ogg"
    assert index.find(["b"]) == index.find(["deep/b"]) == tmp_path / "deep/b.mp3"
    assert index.find(["er/b"]) is None
    assert index.find(["c"]) is None
    assert index.find(["notes"]) is None
    assert index.absent(["c"])[0] == UNREADABLE
    assert index.absent(["x"]) == (MISSING, f"looked in {tmp_path} for x")


def test_one_name_in_two_folders_is_told_apart_by_its_folder(tmp_path: Path) -> None:
    _touch(tmp_path, "train/dia0_utt0.wav", "dev/dia0_utt0.wav")
    index = AudioIndex(tmp_path, ["<split>/dia<D>_utt<U>"])
    assert index.find(["train/dia0_utt0"]) == tmp_path / "train/dia0_utt0.wav"
    assert index.find(["dev/dia0_utt0"]) == index.find(["dia0_utt0"]) == tmp_path / "dev/dia0_utt0.wav"


def test_a_folder_without_audio_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere.*<YTID>_<start>"):
        AudioIndex(tmp_path / "nowhere", ["<YTID>_<start>"])
    with pytest.raises(InputError, match=r"<YTID>_<start>.*none of them among 0 audio files"):
        AudioIndex(tmp_path, ["<YTID>_<start>"])


@given(st.sets(st.text(st.characters(codec="utf-8")), max_size=40), st.integers(0, 45), st.integers(0, 3), st.randoms())
def test_a_choice_depends_on_neither_order_nor_repetition_and_grows_with_the_limit(ids, limit, seed, random) -> None:  # type: ignore[no-untyped-def]
    ordered = sorted(ids)
    shuffled = [*ordered, *ordered[:3]]
    random.shuffle(shuffled)
    chosen = {id for id in ids if id in choose(ordered, limit, seed)}
    assert len(chosen) == min(limit, len(ids)) == choose(shuffled, limit, seed).size
    assert chosen == {id for id in ids if id in choose(iter(shuffled), limit, seed)}
    assert chosen <= {id for id in ids if id in choose(ordered, limit + 1, seed)}


def test_another_seed_chooses_others_and_no_limit_chooses_all() -> None:
    ids = [str(n) for n in range(1000)]
    first, second, every = choose(ids, 100, 0), choose(ids, 100, 1), choose(ids, None, 0)
    assert 0 < sum(id in first and id in second for id in ids) < 30
    assert all(id in every for id in ids)
    with pytest.raises(InputError, match="limit"):
        choose(ids, -1, 0)


def _take(folder: Path, rows: list[str | SetAside], limit: int | None) -> list[str]:
    found = take(
        lambda: iter(rows),
        AudioIndex(folder, ["<id>"]),
        names=lambda row: [row],
        clip=lambda row: row,
        provenance=lambda row: Provenance(dataset="x", source_id=row),
        limit=limit,
        seed=0,
    )
    return [f"{item.id}: {item.reason}" if isinstance(item, SetAside) else item[0] for item in found]


def test_rows_come_in_order_and_those_without_audio_are_set_aside(tmp_path: Path) -> None:
    write_clips(tmp_path, ["a.wav", "b.wav", "d.wav"])
    rows: list[str | SetAside] = ["d", "c", SetAside(stage="collect", reason="bad", id="2"), "a", "b", "a"]
    assert _take(tmp_path, rows, None) == ["d", "c: audio is missing", "2: bad", "a", "b", "a"]
    limited = _take(tmp_path, rows, 2)
    assert [row for row in limited if ":" in row] == ["c: audio is missing", "2: bad"]
    assert len({row for row in limited if ":" not in row}) == 2
    with pytest.raises(InputError, match="for instance 'z'"):
        _take(tmp_path, ["z"], None)
    _touch(tmp_path, "empty.wav")
    (tmp_path / "text.wav").write_text("This is no sound.", encoding="utf-8")
    unreadable = ["empty: audio cannot be decoded", "text: audio cannot be decoded", "a"]
    assert _take(tmp_path, ["empty", "text", "a"], None) == unreadable


def test_a_table_has_line_numbers_comments_and_spaces_after_commas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('# made, by\n# x\n-4g, 0.0, "/m/1,/m/2"\n\n-5, 1.0, ""\n', encoding="utf-8")
    rows = list(read_csv(path, columns=("id", "start", "labels"), comment="#"))
    assert rows == [
        (3, {"id": "-4g", "start": "0.0", "labels": "/m/1,/m/2"}),
        (5, {"id": "-5", "start": "1.0", "labels": ""}),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a,b\n1,2\n1,2,3\n", r"t.csv, line 3: expected 2 fields \(a, b\), found 3"),
        (b"a,c\n1,2\n", r"line 1: expected the columns \['b'\], found \['a', 'c'\]"),
        (b"a,b\n\xff,2\n", "not a table in UTF-8"),
        (b'a,b\n"1,2\n', "not a table in UTF-8"),
        (b"", "found an empty file"),
        ("a,b\n1,2\n".encode("utf-16"), "not a table in UTF-8"),
    ],
)
def test_a_broken_table_names_file_and_line(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(InputError, match=said):
        list(read_csv(tmp_path / "t.csv", needs=("a", "b")))
    with pytest.raises(MissingFileError, match="expected a file"):
        next(read_csv(tmp_path / "u.csv"))


_PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\0\r")).map(str.strip)


@given(st.lists(st.tuples(_PLAIN, _PLAIN), max_size=8))
def test_a_table_reads_as_it_was_written(tmp_path_factory, rows) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("t") / "t.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    assert [tuple(row.values()) for _, row in read_csv(path, needs=("b",))] == rows


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(_JSON, max_size=6), st.sampled_from([None, 1]), st.integers(1, 9), st.data())
def test_an_array_reads_as_it_was_written_in_any_pieces(tmp_path_factory, values, indent, piece, data) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("j") / "a.json"
    text = json.dumps(values, indent=indent, ensure_ascii=data.draw(st.booleans()))
    path.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "_CHUNK", piece)
        assert [value for _, value in read_json_array(path)] == values
        path.write_text(text[: data.draw(st.integers(1, len(text) - 1))], encoding="utf-8")
        with pytest.raises(InputError, match=r"a\.json, line"):
            list(read_json_array(path))
    path.write_text("".join(json.dumps(value) + "\n\n" for value in values if value != []), encoding="utf-8")
    kept = [value for value in values if value != []]
    assert list(read_json_lines(path)) == [(2 * i + 1, value) for i, value in enumerate(kept)]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "[" * 100_000, "[[1], " + "[" * 100_000])
def test_json_that_nests_too_deep_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text)
    for read in (read_json_array, read_json_lines):
        with pytest.raises(InputError, match=r"deep\.json, line 1.*recursion"):
            list(read(path))


def test_an_array_has_line_numbers_and_json_lines_pass_for_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('\n[{"a": 1},\n\n{"b": 2}\n]\n', encoding="utf-8")
    assert list(read_json_array(path)) == [(2, {"a": 1}), (4, {"b": 2})]
    path.write_text('{"a": 1}\n{"b": 2}\n', encoding="utf-8")
    assert list(read_json_array(path)) == list(read_json_lines(path)) == [(1, {"a": 1}), (2, {"b": 2})]
    path.write_text('{"a": 1}\n{"b": }\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 2: expected one JSON value"):
        list(read_json_lines(path))


_WORDS = st.lists(
    st.sampled_from(["cat", "dog", "hen", "cow", "ox", "ram", "bee", "ant", "fox", "elk"]), min_size=2, unique=True
)


@given(_WORDS, st.integers(2, 6), st.integers(0, 5), st.randoms())
def test_options_hold_the_gold_once_and_do_not_depend_on_the_order_given(words, n, seed, random) -> None:  # type: ignore[no-untyped-def]
    gold, wrong = words[0], words[1:]
    choices, answer = options_for(gold, wrong, n, seed, "q")
    assert answer == gold
    assert choices.count(gold) == 1
    assert len(choices) == len(set(choices)) == min(n, len(words))
    assert set(choices) <= set(words)
    random.shuffle(wrong)
    assert options_for(gold, wrong, n, seed, "q") == (choices, answer)


def test_every_place_and_every_distractor_comes_up_equally_often() -> None:
    dealt = [options_for("g", list("abcde"), 4, 3, f"q{i}")[0] for i in range(4000)]
    places = Counter(choices.index("g") for choices in dealt)
    others = Counter(text for choices in dealt for text in choices if text != "g")
    # Of 4,000 draws with p = 1/4 (3/5), five standard deviations are 137 (155).
    assert max(abs(places[i] - 1000) for i in range(4)) < 137
    assert max(abs(others[text] - 2400) for text in "abcde") < 155


@pytest.mark.parametrize(
    ("gold", "wrong"), [("Dog", ["dog."]), ("x", ["the cat", "Cat"]), ("x", []), ("x", [" "]), ("A  b", ["a b"])]
)
def test_options_that_cannot_be_told_apart_are_refused(gold: str, wrong: list[str]) -> None:
    with pytest.raises(InputError, match="q7: expected"):
        options_for(gold, wrong, 4, 0, "q7")
    assert options_for("C# minor", ["C minor"], 4, 0, "q7")[1] == "C# minor"


def test_take_reads_the_rows_without_holding_them(tmp_path: Path) -> None:
    _touch(tmp_path, "a.wav")
    alive = 0

    class Row:
        def __init__(self) -> None:
            nonlocal alive
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def rows() -> Iterator[Row]:
        for _ in range(500):
            yield Row()

    found = take(
        rows,
        AudioIndex(tmp_path, ["<id>"]),
        names=lambda row: ["a"],
        clip=lambda row: "a",
        provenance=lambda row: Provenance(),
        limit=1,
        seed=0,
    )
    most = max(alive for _ in found)
    assert most <= 5
