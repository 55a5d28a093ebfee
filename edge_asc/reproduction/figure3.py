"""The paper's Figure 3: maps of embeddings and hidden states, with and without the auxiliary stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from edge_asc.contract import STEP_FRAMES
from edge_asc.data import FeatureCache
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.errors import EdgeAscError, require
from edge_asc.frontend import Array, LogMel
from edge_asc.models import CRNN
from edge_asc.progress import SILENT, Progress
from edge_asc.training.checkpoint import Checkpoint

KIND: Final = "figure3"
# 1: first version.
SCHEMA_VERSION: Final = 1
POINTS = 1000

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StateMap:
    """A map of one space.

    Attributes:
        points: (x, y) of each step that is drawn.
        silhouette: of the labels in the space that is mapped, −1 to 1; None where there is one label alone.
    """

    points: tuple[tuple[float, float], ...]
    silhouette: float | None


@dataclass(frozen=True)
class ModelMaps:
    """The maps of one model, "embeddings" and "hidden"."""

    name: str
    backbone: str
    form: str
    output: str
    auxiliary: bool
    maps: dict[str, StateMap]


@dataclass(frozen=True)
class Figure3:
    """The figure.

    Attributes:
        data: name of the data set.
        clips: number of clips that were streamed.
        steps: of all clips.
        labels: of the data.
        label: index into `labels` of each step that is drawn.
        step: number of each step that is drawn, in its clip, from 1.
        perplexity, seed: of t-SNE.
        models: in the order they were given.
        fold: whose held-out clips these are; 0 or None for all clips.
    """

    data: str
    clips: int
    steps: int
    labels: tuple[str, ...]
    label: tuple[int, ...]
    step: tuple[int, ...]
    perplexity: float
    seed: int
    models: tuple[ModelMaps, ...]
    fold: int | None = None
    kind: Literal["figure3"] = KIND
    schema_version: Literal[1] = SCHEMA_VERSION


@dataclass(frozen=True)
class MapSettings:
    """Settings of the maps.

    Attributes:
        points: number of steps to draw, at most.
        perplexity: of t-SNE; lowered where there are few points.
        seed: of the choice of steps and of t-SNE.
    """

    points: int = POINTS
    perplexity: float = 30.0
    seed: int = 0


def make_figure(
    models: Sequence[tuple[str, Checkpoint]],
    dataset: Dataset,
    clips: Sequence[Clip],
    cache: FeatureCache,
    settings: MapSettings | None = None,
    progress: Progress = SILENT,
) -> Figure3:
    """Map the embeddings e_i and the hidden states h_i (of the upper GRU layer) after every step.

    A map is t-SNE's (van der Maaten & Hinton, 2008) of the same randomly drawn steps for all models. Beside it stands
    the silhouette (Rousseeuw, 1987) of the labels in the space that is mapped: between −1 and 1, larger where steps of
    one label lie closer to each other than to those of the next label. Distances on a map mean little; the silhouette
    compares.

    Args:
        models: name and checkpoint of CRNNs.
        clips: those of `dataset` to stream, each from its start to its end.
        cache: for the features.
        settings: of the maps.
        progress: receives a unit of work for each map.

    Raises:
        EdgeAscError: a model is not a CRNN, or there are fewer than ten steps.
        MissingExtraError: scikit-learn or torch is not installed.
    """
    settings = settings or MapSettings()
    features = cache.features(dataset, clips)
    counts = [len(features[i]) // STEP_FRAMES for i in range(len(features))]
    total = sum(counts)
    if total < 10:
        raise EdgeAscError(f"{len(clips)} clips have {total} steps; expected at least 10 to map")
    drawn = np.sort(np.random.default_rng(settings.seed).permutation(total)[: settings.points])
    settings = replace(settings, perplexity=min(settings.perplexity, (len(drawn) - 1) / 3))
    label = np.repeat([dataset.labels.index(clip.label) for clip in clips], counts)[drawn]
    step = np.concatenate([np.arange(1, count + 1) for count in counts])[drawn]
    mapped = []
    with progress.phase("mapping", 2 * len(models)) as phase:
        for name, checkpoint in models:
            maps = {}
            for what, space in _compute_states(name, checkpoint, features, counts).items():
                maps[what] = _map(space[drawn], label, settings)
                phase.advance()
            config = checkpoint.model.config
            mapped.append(ModelMaps(name, config.backbone, config.form, config.output, config.auxiliary, maps))
    return Figure3(
        data=dataset.name,
        clips=len(clips),
        steps=total,
        labels=dataset.labels,
        label=tuple(label.tolist()),
        step=tuple(step.tolist()),
        perplexity=settings.perplexity,
        seed=settings.seed,
        models=tuple(mapped),
    )


def _map(space: Points, label: npt.NDArray[np.intp], settings: MapSettings) -> StateMap:
    """The map of a space, (steps, units), whose steps have these labels."""
    metrics, manifold = require("sklearn.metrics", "reproduce"), require("sklearn.manifold", "reproduce")
    tsne = manifold.TSNE(perplexity=settings.perplexity, init="pca", random_state=settings.seed)
    points = np.round(tsne.fit_transform(space), 3).tolist()
    measurable = 1 < len(set(label.tolist())) < len(label)
    silhouette = float(metrics.silhouette_score(space, label)) if measurable else None
    return StateMap(tuple((x, y) for x, y in points), silhouette)


def _compute_states(
    name: str, checkpoint: Checkpoint, features: Sequence[Array], counts: Sequence[int]
) -> dict[str, Points]:
    """Embeddings and hidden states after every whole step of all clips, (steps, units)."""
    import torch

    model, front_end = checkpoint.model, LogMel(checkpoint.front_end)
    if not isinstance(model, CRNN):
        raise EdgeAscError(f"{name} is a CNN without embeddings and hidden states; expected a CRNN")
    embeddings, hidden = [], []
    with torch.inference_mode():
        for i, count in enumerate(counts):
            clip = front_end.normalise(np.array(features[i][: count * STEP_FRAMES]))
            e = model.embed(torch.from_numpy(clip).T[None, None])
            embeddings.append(e[0].numpy())
            hidden.append(model.gru(e)[0][0].numpy())
    return {"embeddings": np.concatenate(embeddings), "hidden": np.concatenate(hidden)}
