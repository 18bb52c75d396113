"""Questions from strong labels: right by a reckoning of their own, and none where the labels leave doubt."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audioset_oracle import RawEvents, Tree, right_options
from hypothesis import given, settings
from hypothesis import strategies as st

from sari_data.errors import InputError, MissingFileError
from sari_data.sources.audioset.ontology import Ontology
from sari_data.sources.audioset.rules import MARGIN, RULES, Scene
from sari_data.sources.phrasing import Draft

# Labels that occur often, with ancestors and brothers of each other among them; a noise, and a name of no source.
COMMON = [
    "Male speech, man speaking",
    "Female speech, woman speaking",
    "Speech",
    "Conversation",
    "Laughter",
    "Dog",
    "Bark",
    "Animal",
    "Music",
    "Guitar",
    "Car",
    "Engine",
    "Vehicle",
    "Wind",
    "Rain",
    "Bird",
    "Chirp, tweet",
    "Walk, footsteps",
    "Door",
    "Knock",
    "Bang",
    "Background noise",
    "Bell",
    "Human voice",
]


@pytest.fixture(scope="module")
def path(shared_data: Path) -> Path:
    """The published ontology."""
    return shared_data / "audioset" / "ontology.json"


@pytest.fixture(scope="module")
def ontology(path: Path) -> Ontology:
    return Ontology(path)


@pytest.fixture(scope="module")
def tree(path: Path) -> Tree:
    return Tree(path)


def _scene(ontology: Ontology, tree: Tree, events: list[tuple[str, float, float]], seed: int = 0) -> Scene:
    found = [(tree.mids[name], start, end) for name, start, end in events]
    return Scene(ontology, found, 10.0, {}, np.random.default_rng(seed))


def _drafts(ontology: Ontology, tree: Tree, rule: str, events: list[tuple[str, float, float]]) -> list[Draft]:
    """All drafts over some draws."""
    return [d for seed in range(12) for d in RULES[rule](_scene(ontology, tree, events, seed)) if d.wrong]


def _problems(draft: Draft, events: RawEvents, tree: Tree) -> list[str]:
    """What is wrong with a draft."""
    choices = (draft.answer, *draft.wrong)
    named = [draft.values[key].name for key in ("target", "other") if key in draft.values]
    found = []
    if len(set(choices)) < len(choices) or not 2 <= len(choices) <= 4:
        found.append(f"options {choices}")
    right = right_options(draft.rule, choices, named, events, tree)
    if right != [draft.answer]:
        found.append(f"right is {right}, not {draft.answer}")
    if draft.rule not in ("count", "together"):
        names = [*choices, *named]
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        found += [f"{a} and {b}" for a, b in pairs if tree.in_line(a, b)]
        found += [f"{name} is barred" for name in names if name in tree.barred]
    return found


_EVENT = st.tuples(st.sampled_from(COMMON), st.one_of(st.just(0), st.integers(0, 9900)), st.integers(20, 10000)).map(
    lambda e: (e[0], e[1] / 1000, min(10_000, e[1] + e[2]) / 1000)
)


@given(st.lists(_EVENT, min_size=1, max_size=10), st.integers(0, 2**32))
@settings(max_examples=250)
def test_the_gold_is_right_and_nothing_else_is(shared_data: Path, ontology: Ontology, tree: Tree, events, seed) -> None:  # type: ignore[no-untyped-def]
    raw = [(tree.mids[name], start, end) for name, start, end in events]
    for rule in RULES:
        for draft in RULES[rule](_scene(ontology, tree, events, seed)):
            if draft.wrong:
                assert _problems(draft, raw, tree) == [], (rule, events)


def test_every_rule_asks_and_the_reckoning_notices_a_wrong_gold(ontology: Ontology, tree: Tree) -> None:
    rng = np.random.default_rng(5)
    asked, noticed = Counter[str](), Counter[str]()
    for seed in range(150):
        events = []
        for name in rng.permutation(COMMON)[:4]:
            start = round(float(rng.uniform(0, 8)), 3)
            events.append((str(name), start, round(start + float(rng.uniform(0.2, 4)), 3)))
        raw = [(tree.mids[name], start, end) for name, start, end in events]
        for rule in RULES:
            draft = next((d for d in RULES[rule](_scene(ontology, tree, events, seed)) if d.wrong), None)
            if draft is not None:
                asked[rule] += 1
                planted = replace(draft, answer=draft.wrong[0], wrong=(draft.answer, *draft.wrong[1:]))
                noticed[rule] += bool(_problems(planted, raw, tree))
    assert all(asked[rule] >= 10 for rule in RULES), asked
    assert noticed == asked


SPEECH, CAR, DOG = "Male speech, man speaking", "Car", "Dog"


@pytest.mark.parametrize(
    ("rule", "clear", "doubtful"),
    [
        # Onsets closer than the margin have no order.
        ("first", [(SPEECH, 0.0, 2.0), (CAR, 0.3, 4.0)], [(SPEECH, 0.0, 2.0), (CAR, 0.2, 4.0)]),
        # Both may have begun before the clip.
        ("first", [(SPEECH, 0.0, 2.0), (CAR, 1.0, 4.0)], [(SPEECH, 0.0, 2.0), (CAR, 0.0, 4.0)]),
        # A class and its ancestor do not compete.
        ("first", [(DOG, 0.0, 2.0), (CAR, 1.0, 4.0)], [(DOG, 0.0, 2.0), ("Bark", 1.0, 4.0)]),
        # The voice that is heard first may be the man's.
        (
            "first",
            [(CAR, 1.0, 4.0), (SPEECH, 3.0, 5.0)],
            [("Human voice", 0.0, 1.0), (CAR, 1.0, 4.0), (SPEECH, 3.0, 5.0)],
        ),
        # What begins as the target ends begins neither before nor after it.
        (
            "after",
            [(SPEECH, 0.0, 2.0), (CAR, 2.5, 10.0), (DOG, 4.0, 10.0)],
            [(SPEECH, 0.0, 2.0), (CAR, 2.1, 10.0), (DOG, 4.0, 10.0)],
        ),
        # Nothing follows a sound that ends with the clip.
        (
            "after",
            [(SPEECH, 0.0, 9.0), (CAR, 9.3, 10.0), (DOG, 9.6, 10.0)],
            [(SPEECH, 0.0, 10.0), (CAR, 2.5, 10.0), (DOG, 4.0, 10.0)],
        ),
        # What begins in the clip's last moments may not be heard.
        (
            "after",
            [(SPEECH, 0.0, 9.0), (CAR, 9.4, 10.0), (DOG, 0.0, 1.0), (DOG, 2.0, 10.0)],
            [(SPEECH, 0.0, 9.6), (CAR, 9.9, 10.0), (DOG, 0.0, 1.0), (DOG, 2.0, 10.0)],
        ),
        # One of several that follow is as early as the first of them.
        (
            "after",
            [(SPEECH, 0.0, 2.0), (CAR, 3.0, 10.0), (DOG, 3.5, 10.0), ("Music", 5.0, 10.0)],
            [(SPEECH, 0.0, 2.0), (CAR, 3.0, 10.0), (DOG, 3.1, 10.0), ("Music", 5.0, 10.0)],
        ),
        (
            "first",
            [(SPEECH, 0.0, 2.0), (CAR, 0.3, 10.0), ("Music", 5.0, 10.0)],
            [(SPEECH, 0.0, 2.0), (CAR, 0.1, 10.0), ("Music", 5.0, 10.0)],
        ),
        (
            "longest",
            [(SPEECH, 0.0, 5.0), (CAR, 0.0, 3.0), ("Music", 5.0, 6.0)],
            [(SPEECH, 0.0, 5.0), (CAR, 0.0, 4.8), ("Music", 5.0, 6.0)],
        ),
        # Gaps that may not be heard are not counted, nor do events that overlap make two.
        ("count", [(DOG, 0.0, 1.0), (DOG, 1.6, 2.0)], [(DOG, 0.0, 1.0), (DOG, 1.4, 2.0)]),
        ("count", [(DOG, 0.0, 1.0), (DOG, 1.6, 2.0)], [(DOG, 0.0, 1.7), (DOG, 1.6, 2.0)]),
        # Of a sound that another label may be a part of, one cannot be sure.
        ("count", [(DOG, 0.0, 1.0), (CAR, 3.0, 10.0), (CAR, 1.0, 2.0)], [(DOG, 0.0, 1.0), ("Bark", 3.0, 4.0)]),
        # A click is too short to be asked about.
        ("count", [(DOG, 0.0, 0.2), (DOG, 1.6, 2.0)], [(DOG, 0.0, 0.05), (DOG, 1.6, 2.0)]),
        ("overlap", [(SPEECH, 0, 3), (CAR, 2, 5), (DOG, 4, 5)], [(SPEECH, 0, 3), (CAR, 2.8, 5), (DOG, 5.2, 6)]),
        ("overlap", [(SPEECH, 0, 3), (CAR, 2, 5), (DOG, 4, 5)], [(SPEECH, 0, 3), (CAR, 2, 5), (DOG, 3.1, 5)]),
        # The animal that is heard with the man may be the dog.
        (
            "overlap",
            [(SPEECH, 0.0, 3.0), (CAR, 2.0, 5.0), (DOG, 4.0, 5.0)],
            [(SPEECH, 0.0, 3.0), (CAR, 2.0, 5.0), (DOG, 4.0, 5.0), ("Animal", 0.0, 3.0)],
        ),
        ("together", [(SPEECH, 0, 3), (CAR, 2, 5), (DOG, 6, 7)], [(SPEECH, 0, 3), (CAR, 2.8, 5), (DOG, 6, 7)]),
        ("together", [(SPEECH, 0, 3), (CAR, 2, 5), (DOG, 5.3, 7)], [(SPEECH, 0, 3), (CAR, 0, 5), (DOG, 3.1, 7)]),
        # Where all overlap, or none do, the answer would follow from what the clip is asked.
        ("together", [(SPEECH, 0, 3), (CAR, 2, 5), (DOG, 6, 7)], [(SPEECH, 0, 3), (CAR, 2, 5)]),
        ("together", [(SPEECH, 0, 3), (CAR, 2, 5), (DOG, 6, 7)], [(SPEECH, 0, 3), (CAR, 4, 5), (DOG, 6, 7)]),
        ("longest", [(SPEECH, 0.0, 5.0), (CAR, 0.0, 3.9)], [(SPEECH, 0.0, 5.0), (CAR, 0.0, 4.1)]),
        # A bang may be anything, so nothing is surely absent.
        ("present", [(SPEECH, 0.0, 5.0)], [(SPEECH, 0.0, 5.0), ("Bang", 7.0, 8.0)]),
        ("absent", [(SPEECH, 0.0, 5.0), (CAR, 2.0, 4.0)], [(SPEECH, 0, 5), (CAR, 2, 4), ("Bang", 7, 8)]),
    ],
)
def test_where_labels_leave_doubt_nothing_is_asked(ontology, tree, rule, clear, doubtful) -> None:  # type: ignore[no-untyped-def]
    assert _drafts(ontology, tree, rule, clear)
    assert _drafts(ontology, tree, rule, doubtful) == []


def test_yes_and_no_are_as_likely_and_a_number_is_not_told_by_its_place(ontology: Ontology, tree: Tree) -> None:
    # Three pairs overlap and one does not; the engine drones on beside a dog that barks twice.
    events = [(SPEECH, 0.0, 9.0), (CAR, 0.0, 9.5), (DOG, 1.0, 2.0), (DOG, 6.0, 7.0), ("Wind", 3.0, 4.0)]
    scenes = [_scene(ontology, tree, events, seed) for seed in range(300)]
    golds = Counter(next(RULES["together"](scene)).answer for scene in scenes)
    assert min(golds.values()) > 120
    counted = [next(RULES["count"](scene)) for scene in scenes]
    # What comes again is counted, where anything does.
    assert {draft.answer for draft in counted} == {"2"}
    smallest = sum(min(draft.wrong) > draft.answer for draft in counted)
    assert 40 < smallest < 120
    once = [draft for seed in range(300) for draft in RULES["count"](_scene(ontology, tree, events[:2], seed))]
    assert 40 < len(once) / 2 < 110


def test_a_sound_that_is_not_heard_is_far_from_all_that_are(ontology: Ontology, tree: Tree) -> None:
    heard = [("Conversation", 0.0, 4.0), ("Engine", 2.0, 6.0)]
    named = {name for d in _drafts(ontology, tree, "present", heard) for name in d.wrong}
    assert len(named) > 10
    people_and_things = tree.below("Human sounds") | tree.below("Sounds of things") | tree.below("Natural sounds")
    nothing = tree.below("Source-ambiguous sounds") | tree.below("Channel, environment and background")
    assert not named & (people_and_things | nothing | tree.barred)


def test_what_may_be_said_of_one_sound_is_related(ontology: Ontology, tree: Tree) -> None:
    def related(a: str, b: str) -> bool:
        assert ontology.related(tree.mids[a], tree.mids[b]) == ontology.related(tree.mids[b], tree.mids[a])
        return ontology.related(tree.mids[a], tree.mids[b])

    # Growling is below dogs, cats, lions and wolves.
    assert all(related("Growling", name) for name in ("Dog", "Cat", "Roaring cats (lions, tigers)", "Animal"))
    assert related("Bark", "Howl")
    assert related("Car", "Engine")
    assert related("Snort", "Snort (horse)")
    assert not related("Male speech, man speaking", "Female speech, woman speaking")
    assert not related("Dog", "Car")
    every = list(tree.mids)
    assert all(related(a, b) for a in every[::9] for b in every[::7] if tree.in_line(a, b))


def test_domains_follow_from_the_labels(ontology: Ontology, tree: Tree) -> None:
    def domain(*names: str) -> str:
        return ontology.domain([tree.mids[name] for name in names])

    assert domain("Conversation") == "speech"
    assert domain("Laughter") == domain("Dog") == domain("White noise") == "sound"
    assert domain("Guitar") == domain("Male singing") == "music"
    assert domain("Speech", "Inside, small room") == "speech"
    assert domain("Speech", "Music", "Dog") == "sound+music+speech"


def test_common_sounds_are_named_more_often_where_they_are_absent(ontology: Ontology, tree: Tree) -> None:
    events = [(tree.mids[SPEECH], 0.0, 5.0)]
    weights = {tree.mids[CAR]: 30.0}
    scenes = [Scene(ontology, events, 10.0, weights, np.random.default_rng(seed)) for seed in range(60)]
    with_car = sum(CAR in draft.wrong for scene in scenes for draft in RULES["present"](scene))
    assert with_car > 50
    assert sum(CAR in d.wrong for d in _drafts(ontology, tree, "present", [(SPEECH, 0.0, 5.0)])) < 4


def test_a_sound_cut_by_the_clip_is_heard_within_it(ontology: Ontology, tree: Tree) -> None:
    scene = _scene(ontology, tree, [(SPEECH, 8.0, 14.0), (CAR, 11.0, 12.0), (DOG, 1.0, 4.0)])
    assert [(sound.name, sound.total) for sound in scene.sounds] == [(SPEECH, 2.0), (DOG, 3.0)]
    assert MARGIN == 0.25


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"id": "/m/1", "name": "A"}]', "expected a class with id, name and child_ids"),
        ('[{"id": "/m/1", "name": "A", "child_ids": ["/m/2"]}]', "expected every child to be a class"),
        (
            '[{"id": "1", "name": "A", "child_ids": ["2"]}, {"id": "2", "name": "B", "child_ids": ["1"]}]',
            "above itself",
        ),
        ("[3]", "expected a class"),
        ("[]", "no class"),
    ],
)
def test_a_file_that_is_no_ontology_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "o.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        Ontology(tmp_path / "o.json")
    with pytest.raises(MissingFileError):
        Ontology(tmp_path / "p.json")
