"""What questions that are made by rule share: how their options are chosen, checked and dealt out."""

from __future__ import annotations

from collections.abc import Sequence

from sari_data.errors import InputError
from sari_data.options import loose_form
from sari_data.sources.files import seeded_hash


def options_for(gold: str, distractors: Sequence[str], n: int, seed: int, id: str) -> tuple[tuple[str, ...], str]:
    """Return ``n`` options in the order in which to show them (fewer where there are not enough), and the right one.

    Everything follows from ``seed`` and ``id``: which distractors are taken where there are more than needed, their
    order, and the place of the right option, for which all places are equally likely. The order in which the
    distractors are given does not matter. The share of each place over N questions is 1/n to about 1/sqrt(N).

    Args:
        gold: The right option.
        distractors: Wrong options, at least one.
        n: How many options to show, 2 or more.
        seed: The seed.
        id: What is asked, for instance ``"<clip>/<rule>/<number>"``.

    Raises:
        InputError: Too few options, or two of them are the same but for case, articles, marks and spaces
            (:func:`~sari_data.options.loose_form`).
    """
    if n < 2 or not distractors:
        raise InputError(f"{id}: expected two or more options, found {n} wanted and {len(distractors)} distractors")
    forms: dict[str, str] = {}
    for text in (gold, *distractors):
        form = loose_form(text)
        if form in forms or not form:
            raise InputError(f"{id}: expected options that differ, found {forms.get(form, '')!r} and {text!r}")
        forms[form] = text
    wrong = sorted(distractors, key=lambda text: seeded_hash(seed, f"{id}/option/{text}"))[: n - 1]
    place = seeded_hash(seed, f"{id}/place") % (len(wrong) + 1)
    return (*wrong[:place], gold, *wrong[place:]), gold
