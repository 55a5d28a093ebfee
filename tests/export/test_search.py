"""Plans between int8 and float."""

from itertools import pairwise

import numpy as np
import pytest

from artefacts import checkpoint, clips, planned
from edge_asc.errors import ExportError
from edge_asc.frontend import Array
from edge_asc_export.cost import DEFAULT
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import MIXED, SCHEMES
from edge_asc_export.search import Search

FEATURES = clips(6, 40, seed=3)


@pytest.fixture(scope="module")
def search() -> Search:
    found = planned(head="linear")
    return Search(found, Plan.from_json(found.quantisation).with_scheme(SCHEMES["int8"]), FEATURES, DEFAULT)


def test_plans_become_nearer_to_float_and_dearer(search: Search) -> None:
    proposals = search.proposals
    assert proposals[0].scheme == SCHEMES["int8"]
    assert len(proposals) > 5
    noises = [each.divergence for each in proposals]
    assert noises == sorted(noises, reverse=True)
    assert proposals[-1].divergence <= 0.02 * proposals[0].divergence
    costs = [each.instructions for each in proposals[1:]]
    assert costs == sorted(set(costs))
    for before, after in pairwise(proposals[1:]):
        assert set(before.scheme.float_tensors) < set(after.scheme.float_tensors)
    assert {each.scheme.name for each in proposals[1:]} == {MIXED}


def test_the_noise_predicts_the_divergence_in_simulation(search: Search) -> None:
    """The prediction takes errors as small and independent; the order is what a search needs."""
    picked = search.proposals[:: max(1, len(search.proposals) // 5)]
    found = [search.simulate(each.scheme).kl for each in picked]
    for each, kl in zip(picked, found, strict=True):
        assert each.divergence == pytest.approx(kl, rel=1.0)
    assert found[-1] < 0.2 * found[0]


def test_the_first_plan_that_holds_is_found(search: Search) -> None:
    limit = 0.3 * search.simulate(SCHEMES["int8"]).kl
    found = search.find(lambda closeness: closeness.kl <= limit)
    assert found is not None
    at = search.proposals.index(found)
    assert at > 0
    assert search.simulate(found.scheme).kl <= limit < search.simulate(search.proposals[at - 1].scheme).kl
    assert search.find(lambda closeness: True) == search.proposals[0]
    assert search.find(lambda closeness: False) is None


def test_clips_of_all_lengths_are_used() -> None:
    found = planned()
    plan = Plan.from_json(found.quantisation).with_scheme(SCHEMES["int8"])
    lengths = [8, 40, 3, 24, 40]
    features: list[Array] = [np.array(clip[:n]) for clip, n in zip(clips(5, 40), lengths, strict=True)]
    closeness = Search(found, plan, features, DEFAULT).simulate(SCHEMES["int8"])
    assert closeness.steps == 1 + 5 + 3 + 5


@pytest.mark.parametrize(
    ("form", "features", "message"),
    [
        ("windowed", FEATURES, "only a causal model"),
        ("causal", [np.zeros((7, 256), np.float32)], "none of 1 clips lasts a step of 8 frames"),
    ],
)
def test_what_cannot_be_searched_is_refused(form: str, features: list[Array], message: str) -> None:
    found = checkpoint(form)
    plan = Plan.from_json(planned().quantisation).with_scheme(SCHEMES["int8"])
    with pytest.raises(ExportError, match=message):
        Search(found, plan, features, DEFAULT)
