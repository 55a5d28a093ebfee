"""The clips that an output layer is fitted on, with their folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_asc.contract import StreamContract
from edge_asc.data.cache import FeatureCache, Features, default_cache
from edge_asc.data.dataset import OTHER, Clip, Dataset, Fold
from edge_asc.data.folder import Folder
from edge_asc.data.folds import make_folds
from edge_asc.data.groups import own_group, regroup
from edge_asc.data.samples import Samples
from edge_asc.evaluation.logits import choose_inputs
from edge_asc.frontend import Array, FrontEnd
from edge_asc.progress import SILENT, Progress

Split = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Material:
    """Labelled clips.

    Attributes:
        name: of the data set.
        labels: of the model, in the order of its outputs.
        features: raw log-mel of each clip.
        samples: of each clip.
        targets: index into `labels` of each clip.
        folds: indices of the clips that are fitted on, and of those that are held out.
        digest: SHA-256 of the audio and the labels of all clips.
    """

    name: str
    labels: tuple[str, ...]
    features: Features = field(repr=False)
    samples: Samples = field(repr=False)
    targets: tuple[int, ...] = field(repr=False)
    folds: tuple[Split, ...] = field(repr=False)
    digest: str

    @classmethod
    def read(cls, dataset: Dataset, front_end: FrontEnd, progress: Progress = SILENT) -> Material:
        """Compute the features of all clips, where they are not in the cache.

        Raises:
            DatasetError: a clip cannot be read, or a fold is damaged.
        """
        clips = dataset.clips
        place = {clip: number for number, clip in enumerate(clips)}
        features = FeatureCache(default_cache(), front_end).features(dataset, clips, progress)

        def find(part: Sequence[Clip]) -> tuple[int, ...]:
            return tuple(place[clip] for clip in part)

        return cls(
            name=dataset.name,
            labels=dataset.labels,
            features=features,
            samples=Samples(dataset, clips, front_end.sample_rate),
            targets=tuple(dataset.labels.index(clip.label) for clip in clips),
            folds=tuple(
                (find(dataset.split(number, "train")), find(dataset.split(number, "evaluate")))
                for number, fold in dataset.folds.items()
                if len({clip.label for clip in fold.train}) > 1  # a layer needs two classes
            ),
            digest=features.digest([clip.label for clip in clips]),
        )

    def inputs(self, contract: StreamContract) -> Sequence[Array]:
        """Return the clips as a model takes them: raw log-mel or samples."""
        return choose_inputs(contract, self.features, self.samples)


def add_background(dataset: Dataset, folder: Path, seed: int = 0) -> Dataset:
    """Return a data set with the sound files of another folder, at any depth, under the label `other`.

    They are spread over its folds, where it has some.

    Raises:
        DatasetError: the folder holds no sound file.
    """
    listing = Folder.scan(folder)
    listing.check_sounds(folder)
    root = folder.resolve()
    clips = tuple(Clip(str(root / path), OTHER, own_group(str(root / path))) for path in listing.sounds)
    clips = regroup(Dataset(folder.name, root, (OTHER,), clips)).clips
    made = [*make_folds(clips, len(dataset.folds), seed).values()]
    made += [Fold(clips, ())] * (len(dataset.folds) - len(made))
    folds = {
        number: replace(fold, train=(*fold.train, *more.train), evaluate=(*fold.evaluate, *more.evaluate))
        for (number, fold), more in zip(dataset.folds.items(), made, strict=True)
    }
    labels = dataset.labels if OTHER in dataset.labels else (*dataset.labels, OTHER)
    return replace(dataset, labels=labels, clips=(*dataset.clips, *clips), folds=folds)
