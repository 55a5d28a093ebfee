from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from artefacts import FRONT_END, random_model
from edge_asc import audio
from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.generated import write_scenes
from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import ContractError, EdgeAscError
from edge_asc.evaluation.checkpoints import stream_clips
from edge_asc.frontend import FrontEnd
from edge_asc.models.crnn import CRNN
from edge_asc.reproduction import figure3, figure4
from edge_asc.streaming import StreamingClassifier, WindowedClassifier
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_bench.drawing import standalone
from edge_asc_bench.figures import recall_curves, state_maps
from edge_asc_bench.page import load, to_html, to_markdown


def checkpoint(form: Any, seed: int = 0, **options: Any) -> Checkpoint:
    """A model with random weights that does not give the same answer to everything."""
    model = random_model(seed, form=form, **options)
    if form == "windowed" and model.config.head == "gru":
        assert isinstance(model, CRNN)
        rows: Any = model.gru.weight_ih_l0.data
        rows -= rows.mean(1, keepdim=True)
        rows *= 20.0
    return Checkpoint(f"{form}-{seed}", model, FRONT_END, TAU_LABELS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, FeatureCache]:
    folder = tmp_path_factory.mktemp("figures")
    dataset = write_scenes(folder / "scenes", 2, 0, seconds=3.0, folds=2)
    return dataset, FeatureCache(folder / "cache", FrontEnd())


@pytest.fixture(scope="module")
def drawn(data: Any) -> figure4.Figure4:
    dataset, cache = data
    models = [
        ("windowed", [TorchRuntime(checkpoint("windowed", seed)) for seed in range(2)]),
        ("causal", [TorchRuntime(checkpoint("causal"))]),
    ]
    return figure4.make_figure(models, dataset, dataset.clips, cache)


def curves(figure: figure4.Figure4, name: str) -> Iterator[tuple[tuple[Any, str], figure4.Curve]]:
    (model,) = (model for model in figure.models if model.name == name)
    return (((curve.seconds, curve.carry), curve) for curve in model.curves)


def test_figure4_follows_the_procedure(data: Any, drawn: figure4.Figure4) -> None:
    dataset, _ = data
    assert (drawn.seconds, drawn.clips, drawn.left_out) == (3, 20, 0)
    found = dict(curves(drawn, "windowed"))
    assert set(found) == {(length, carry) for length in (1, 2, 3) for carry in ("final", "aligned", "none")}
    assert found[1, "final"].times == tuple(1.0 + 0.25 * i for i in range(9))
    assert len(found[2, "none"].times) == 5
    targets = [dataset.labels.index(clip.label) for clip in dataset.clips]
    for carry in ("final", "aligned", "none"):
        hits, counted = [], []
        for seed in range(2):
            runtime = TorchRuntime(checkpoint("windowed", seed))
            for clip, target in zip(dataset.clips, targets, strict=True):
                samples = audio.read(dataset.path(clip))
                hits.append([d.index == target for d in WindowedClassifier(runtime, 1, carry=carry).push(samples)])
                counted.append(WindowedClassifier(runtime, 3).push(samples)[0].index == target)
        expected = np.array(hits)
        assert 0 < sum(counted) < len(counted)
        np.testing.assert_allclose(found[1, carry].accuracy, expected.mean(0))
        recall = found[1, carry].recall
        assert recall is not None
        np.testing.assert_allclose(recall, expected[np.array(counted)].mean(0))
    (whole,) = (model.whole for model in drawn.models if model.name == "windowed")
    assert (whole.count, whole.right) == (40, sum(counted))


def test_at_the_full_length_carried_and_fresh_states_coincide_and_recall_is_whole(drawn: figure4.Figure4) -> None:
    found = dict(curves(drawn, "windowed"))
    for carry in ("final", "aligned", "none"):
        assert found[3, carry].recall == (1.0,)
        assert found[3, carry].macro_recall == (1.0,)
        assert found[3, carry].accuracy == found[3, "none"].accuracy
    assert found[1, "final"].recall != found[1, "none"].recall


def test_the_causal_curve_is_streamed_step_by_step(data: Any, drawn: figure4.Figure4) -> None:
    dataset, _ = data
    ((key, curve),) = curves(drawn, "causal")
    assert key == (None, "exact")
    assert curve.times == tuple(round(0.256 * i, 3) for i in range(1, 12))
    assert curve.recall is not None
    assert curve.recall[-1] == 1.0
    hits = []
    for clip in dataset.clips:
        stream = StreamingClassifier(TorchRuntime(checkpoint("causal")), decision="last")
        right = dataset.labels.index(clip.label)
        hits.append([decision.index == right for decision in stream.push(audio.read(dataset.path(clip)))])
    np.testing.assert_allclose(curve.accuracy, np.mean(hits, axis=0))


def test_macro_recall_is_the_mean_over_labels(data: Any) -> None:
    hits = np.array([[True, False], [True, True], [False, True], [True, True]])
    counted = np.array([True, True, True, False])
    targets = np.array([0, 0, 1, 2])
    curve = figure4._make_curve(1, "none", 0.25, hits, figure4.Counted(counted, targets))
    assert curve.recall == pytest.approx([2 / 3, 2 / 3])
    assert curve.macro_recall == pytest.approx([0.5, 0.75])
    assert curve.accuracy == pytest.approx([0.75, 0.75])
    nothing = figure4._make_curve(1, "none", 0.25, hits, figure4.Counted(np.zeros(4, bool), targets))
    assert (nothing.recall, nothing.macro_recall) == (None, None)


def test_what_figure4_refuses(data: Any, artefacts: Any) -> None:
    dataset, cache = data
    strange = [("random-windowed", [TorchRuntime(artefacts.windowed)])]
    with pytest.raises(EdgeAscError, match="random-windowed does not know airport"):
        figure4.make_figure(strange, dataset, dataset.clips, cache, figure4.Windows((1,)))
    windowed = [("w", [TorchRuntime(checkpoint("windowed"))])]
    with pytest.raises(EdgeAscError, match="less than half of the clips are 4 s long"):
        figure4.make_figure(windowed, dataset, dataset.clips, cache, figure4.Windows((4, 5)))
    with pytest.raises(ContractError, match="classifies whole clips and does not stream"):
        TorchRuntime(checkpoint("windowed", head="gap", auxiliary=False))


def test_figure3_maps_the_same_steps_of_every_model(data: Any) -> None:
    dataset, cache = data
    models = [("with", checkpoint("windowed")), ("without", checkpoint("causal", 1, auxiliary=False))]
    settings = figure3.MapSettings(points=60)
    value = figure3.make_figure(models, dataset, dataset.clips, cache, settings)
    assert value == figure3.make_figure(models, dataset, dataset.clips, cache, settings)
    assert value.steps == 20 * 11
    assert len(value.label) == len(value.step) == 60
    assert set(value.step) <= set(range(1, 12))
    assert [model.auxiliary for model in value.models] == [True, False]
    for model in value.models:
        for state_map in model.maps.values():
            assert np.isfinite(state_map.points).all()
            assert len(state_map.points) == 60
            assert state_map.silhouette is not None
            assert -1 <= state_map.silhouette <= 1
    with pytest.raises(EdgeAscError, match="a CNN without embeddings"):
        figure3.make_figure(
            [("cnn", checkpoint("windowed", head="gap", auxiliary=False))], dataset, dataset.clips, cache
        )
    with pytest.raises(EdgeAscError, match="expected at least 10 to map"):
        figure3.make_figure(models, dataset, [], cache)


def test_hidden_states_are_those_that_decide(data: Any) -> None:
    import torch

    dataset, cache = data
    model = checkpoint("causal")
    features = cache.features(dataset, dataset.clips[:1])
    spaces = figure3._compute_states("m", model, features, [11])
    assert spaces["embeddings"].shape == (11, 108)
    with torch.no_grad():
        logits = model.model.output(torch.from_numpy(spaces["hidden"]))
    expected = stream_clips(TorchRuntime(model), [_normalised(features[0])])[0]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def _normalised(clip: Any) -> Any:
    from edge_asc.frontend import LogMel

    return LogMel(FRONT_END).normalise(np.array(clip))


def test_the_page_and_the_pull_request_show_them(data: Any, drawn: figure4.Figure4, tmp_path: Path) -> None:
    dataset, cache = data
    maps = figure3.make_figure(
        [("with", checkpoint("windowed"))], dataset, dataset.clips, cache, figure3.MapSettings(points=30)
    )
    paths = []
    for name, value in (("figure4", drawn), ("figure3", maps)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(asdict(value)))
    html = to_html(load(paths))
    assert re.findall("<h2>(.*)</h2>", html) == ["Figure 4 on generated", "Figure 3 on generated"]
    assert html.count('<svg class="chart ') == 4  # each wide and narrow
    assert "step by step" in html
    text = to_markdown(load(paths))
    assert "| windowed | final |" in text
    assert "| causal | exact |" in text


def test_pictures_are_files_of_their_own(data: Any, drawn: figure4.Figure4) -> None:
    dataset, cache = data
    maps = figure3.make_figure(
        [("with", checkpoint("windowed"))], dataset, dataset.clips, cache, figure3.MapSettings(points=30)
    )
    for picture in (recall_curves(drawn), state_maps(maps)):
        root = ElementTree.fromstring(standalone(picture))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("width") == "720"
        assert root.get("viewBox")


def test_one_long_recording_does_not_leave_out_the_others(data: Any, tmp_path: Path) -> None:
    dataset = write_scenes(tmp_path / "mixed", 2, 0, seconds=1.5)
    long = dataset.path(dataset.clips[0])
    audio.write(long, np.tile(audio.read(long), 2))
    value = figure4.make_figure(
        [("w", [TorchRuntime(checkpoint("windowed"))])],
        dataset,
        dataset.clips,
        data[1],
        figure4.Windows(carries=("final",)),
    )
    assert (value.seconds, value.clips, value.left_out) == (1, 20, 0)
