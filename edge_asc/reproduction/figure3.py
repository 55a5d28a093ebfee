"""The paper's Figure 3: maps of embeddings and hidden states, with and without the auxiliary stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc.contract import STEP_FRAMES
from edge_asc.data import FeatureCache
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.errors import EdgeAscError, require
from edge_asc.frontend import LogMel
from edge_asc.models import CRNN
from edge_asc.training.checkpoint import Checkpoint

KIND = "figure3"
# 1: first version.
SCHEMA_VERSION = 1
POINTS = 1000

Points = npt.NDArray[np.float32]


def figure(
    models: Sequence[tuple[str, Checkpoint]],
    dataset: Dataset,
    clips: Sequence[Clip],
    cache: FeatureCache,
    *,
    points: int = POINTS,
    perplexity: float = 30.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Maps of the embeddings e_i and the hidden states h_i (of the upper GRU layer) after every step, as JSON.

    A map is t-SNE's (van der Maaten & Hinton, 2008) of the same randomly drawn steps for all models. Beside it stands
    the silhouette (Rousseeuw, 1987) of the labels in the space that is mapped: between −1 and 1, larger where steps of
    one label lie closer to each other than to those of the next label. Distances on a map mean little; the silhouette
    compares.

    Args:
        models: name and checkpoint of CRNNs.
        clips: those of `dataset` that are heard, each from its start to its end.
        points: at most so many steps are drawn.
        perplexity: of t-SNE; lowered where there are few points.
        seed: of the drawing and of t-SNE.

    Raises:
        EdgeAscError: a model is no CRNN, or fewer than ten steps.
        MissingExtraError: scikit-learn or torch is not installed.
    """
    metrics, manifold = require("sklearn.metrics", "reproduce"), require("sklearn.manifold", "reproduce")
    features = cache.features(dataset, clips)
    counts = [len(features[i]) // STEP_FRAMES for i in range(len(features))]
    total = sum(counts)
    if total < 10:
        raise EdgeAscError(f"{len(clips)} clips have {total} steps; expected at least 10 to map")
    drawn = np.sort(np.random.default_rng(seed).permutation(total)[:points])
    perplexity = min(perplexity, (len(drawn) - 1) / 3)
    label = np.repeat([dataset.labels.index(clip.label) for clip in clips], counts)[drawn]
    measurable = 1 < len(set(label)) < len(label)
    step = np.concatenate([np.arange(1, count + 1) for count in counts])[drawn]
    found = []
    for name, checkpoint in models:
        spaces = {what: space[drawn] for what, space in _states(name, checkpoint, features, counts).items()}
        maps = {}
        for what, space in spaces.items():
            tsne = manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed)
            maps[what] = {
                "points": np.round(tsne.fit_transform(space), 3).tolist(),
                "silhouette": float(metrics.silhouette_score(space, label)) if measurable else None,
            }
        config = checkpoint.model.config
        facts = {"backbone": config.backbone, "form": config.form, "output": config.output}
        found.append({"name": name, **facts, "auxiliary": config.auxiliary, "maps": maps})
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "data": dataset.name,
        "clips": len(clips),
        "steps": total,
        "labels": list(dataset.labels),
        "label": label.tolist(),
        "step": step.tolist(),
        "perplexity": perplexity,
        "seed": seed,
        "models": found,
    }


def _states(name: str, checkpoint: Checkpoint, features: Any, counts: Sequence[int]) -> dict[str, Points]:
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
