"""A data set made ready for training: measured, grouped, cut, split; and everything that is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from edge_asc import audio
from edge_asc.audio import Measures
from edge_asc.data.cache import FeatureCache, UnreadableClipsError
from edge_asc.data.dataset import OTHER, Clip, Dataset
from edge_asc.data.folds import find_lone_groups, make_folds
from edge_asc.data.groups import Duplicates, own_group, regroup
from edge_asc.data.labels import find_label_problems
from edge_asc.errors import AudioError, DatasetError, MissingExtraError, list_problems
from edge_asc.progress import SILENT, Progress

TAU = "tau"
# Length of the clips that long recordings are cut into, and number of folds.
CLIP_SECONDS, FOLDS = 5.0, 4
# Seconds of the shortest file: a model decides after 0.256 s first.
SHORTEST = 0.3
# A data set of fewer clips is cross-validated.
FEW_CLIPS = 2000
# Clips of a class below which little can be learned.
LEAST_CLIPS = 10


@dataclass(frozen=True)
class Settings:
    """How a data set is prepared.

    Attributes:
        clip_seconds: recordings of more than twice this length are cut into clips of it.
        folds: number of folds to make where there are none.
        seed: of the folds.
        group: how clips are grouped; see `regroup`.
        skip: leave out files that cannot be used.
    """

    clip_seconds: float = CLIP_SECONDS
    folds: int = FOLDS
    seed: int = 0
    group: str = ""
    skip: bool = False


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready for training, unless there are problems.

    Attributes:
        dataset: with groups, pieces of long recordings, and folds.
        measures: length, rate and channels of each file that can be used, by its name.
        problems: what must be put right first, one sentence each.
        warnings: what may make the result worse or the figures wrong, one sentence each.
    """

    dataset: Dataset
    measures: Mapping[str, Measures] = field(repr=False)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_cross_validated(self) -> bool:
        """Whether the clips are so few that each should be held out once."""
        return len(self.dataset.folds) > 1 and len(self.dataset.clips) < FEW_CLIPS

    def seconds(self, clip: Clip) -> float:
        """Return the length of a clip."""
        measures = self.measures.get(clip.filename)
        end = clip.end if clip.end is not None else measures.seconds if measures else clip.start
        return end - clip.start

    def check(self) -> None:
        """Check that nothing is wrong.

        Raises:
            DatasetError: one error that lists everything.
        """
        if self.problems:
            advice = "Put this right, or leave out files that cannot be used with --skip-unreadable."
            raise DatasetError(list_problems(f"{self.dataset.root}: problems found", self.problems, advice))


def prepare(dataset: Dataset, settings: Settings | None = None, progress: Progress = SILENT) -> Prepared:
    """Measure all files of a data set, group its clips, cut long recordings and make folds.

    A data set in TAU layout keeps its clips, groups and folds.

    Raises:
        DatasetError: the column to group by does not exist.
    """
    settings = settings or Settings()
    measures, unusable = measure_files(dataset, progress)
    warnings = list(dataset.notes)
    problems = [*dataset.problems, *_find_problems(dataset)]
    if settings.skip and unusable:
        warnings.append(f"files left out ({len(unusable)}): {_shorten([*unusable.values()])}")
    elif unusable:
        problems += unusable.values()
    dataset = dataset.with_clips(clip for clip in dataset.clips if clip.filename in measures)
    if len(labels := dataset.labels) < 2 and not problems:
        problems.append(
            f"{'only the class ' + labels[0] if labels else 'no class'} has a file that can be used; expected two "
            f"classes or more: add another one, such as {OTHER} with other sounds"
        )
    if dataset.layout != TAU:
        dataset = regroup(dataset, settings.group)
        duplicates = Duplicates.find(dataset, list(dataset.by_filename), progress)
        warnings += duplicates.describe(lambda name: dataset.by_filename[name].label)
        dataset = dataset.with_clips(duplicates.join(dataset.clips))
        warnings += _find_warnings(dataset, measures)
        dataset = dataset.with_clips(cut(dataset.clips, measures, settings.clip_seconds))
        if not dataset.folds:
            dataset = replace(dataset, folds=make_folds(dataset.clips, settings.folds, settings.seed))
    else:
        problems += dataset.find_split_groups()
    return Prepared(dataset, measures, tuple(problems), tuple(warnings))


def read_features(prepared: Prepared, cache: FeatureCache, *, skip: bool, progress: Progress = SILENT) -> Prepared:
    """Compute the features of all clips, so that every file that breaks off is found before a training begins.

    Args:
        prepared: without problems.
        cache: where they are kept.
        skip: leave out files that cannot be read.
        progress: one unit for each file.

    Raises:
        UnreadableClipsError: files cannot be read, and `skip` is not given.
    """
    dataset = prepared.dataset
    try:
        cache.features(dataset, dataset.clips, progress)
    except UnreadableClipsError as error:
        if not skip:
            raise
        left = dataset.with_clips(clip for clip in dataset.clips if clip.filename not in error.problems)
        if left.labels != dataset.labels:
            raise
        warning = f"files left out ({len(error.problems)}): {_shorten([*error.problems.values()])}"
        return replace(prepared, dataset=left, warnings=(*prepared.warnings, warning))
    return prepared


def measure_files(dataset: Dataset, progress: Progress = SILENT) -> tuple[dict[str, Measures], dict[str, str]]:
    """Return the measures of all files that can be used, and a sentence about each other one, by name."""
    measures: dict[str, Measures] = {}
    problems: dict[str, str] = {}
    for name, clip in progress.track([*dataset.by_filename.items()], "Measuring sound files"):
        try:
            measured = audio.measure(dataset.path(clip))
        except (AudioError, MissingExtraError) as error:
            problems[name] = str(error)
        except OSError as error:
            problems[name] = f"{name}: cannot be read ({error.strerror})"
        else:
            if measured.seconds < SHORTEST:
                problems[name] = (
                    f"{name}: lasts {measured.seconds:.3f} s; expected at least {SHORTEST} s, which one decision takes"
                )
            else:
                measures[name] = measured
    return measures, problems


def cut(clips: tuple[Clip, ...], measures: Mapping[str, Measures], seconds: float) -> Iterator[Clip]:
    """Yield the clips, with pieces of `seconds` in place of each that is more than twice as long.

    A rest of less than half a piece belongs to the piece before it: nothing is left out.
    """
    for clip in clips:
        length = measures[clip.filename].seconds
        if length <= 2 * seconds:
            yield clip
            continue
        count = int(length / seconds + 0.5)
        for piece in range(count):
            end = None if piece == count - 1 else (piece + 1) * seconds
            yield replace(clip, start=piece * seconds, end=end)


def _find_problems(dataset: Dataset) -> Iterator[str]:
    yield from find_label_problems(dataset.labels)
    if unlabelled := [clip.filename for clip in dataset.clips if not clip.label]:
        yield f"{len(unlabelled)} files have no label, such as {unlabelled[0]}; expected one for each file"


def _find_warnings(dataset: Dataset, measures: Mapping[str, Measures]) -> Iterator[str]:
    yield from _find_group_warnings(dataset)
    for label, count in Counter(clip.label for clip in dataset.clips).items():
        if count < LEAST_CLIPS:
            files = "file" if count == 1 else "files"
            yield f"{label}: has {count} {files}; expected {LEAST_CLIPS} or more, better 40"
    yield from _find_rate_warnings(dataset, measures)


def _find_group_warnings(dataset: Dataset) -> Iterator[str]:
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in dataset.clips:
        groups[clip.label][clip.group] += 1
    own = [
        label
        for label, counts in groups.items()
        if max(counts.values()) == 1
        and len(counts) > 1
        and all(clip.group == own_group(clip.filename) for clip in dataset.clips if clip.label == label)
    ]
    if own:
        every = "all classes" if len(own) == len(groups) else _shorten(own)
        yield (
            f"the file names of {every} do not show which files come from one recording, so each counts as a recording "
            "by itself; if some were cut from one, the held-out accuracy is too high: name them like rec12_3.wav, or "
            "give --group COLUMN"
        )
    for label in find_lone_groups(dataset.clips):
        yield (
            f"{label}: all its clips come from one recording or group, so its held-out accuracy cannot be measured: "
            "add another recording, or give --group file if they do not"
        )
    for number, fold in dataset.folds.items():
        train, evaluate = ({clip.group for clip in part} for part in (fold.train, fold.evaluate))
        if both := sorted(train & evaluate):
            yield (
                f"fold {number}: {len(both)} recordings or groups are in both of its parts, such as {both[0]}, so the "
                "held-out accuracy is too high"
            )


def _find_rate_warnings(dataset: Dataset, measures: Mapping[str, Measures]) -> Iterator[str]:
    """Yield a sentence where rates below that of the models separate the classes."""
    rates: dict[str, set[int]] = defaultdict(set)
    for clip in dataset.clips:
        rates[clip.label].add(measures[clip.filename].rate)
    low = [label for label, values in rates.items() if max(values) < 16000]
    if low and len(low) < len(rates):
        yield (
            f"all files of {_shorten(low)} have sample rates below 16 kHz, those of other classes do not: a model may "
            "learn the rate instead of the sound"
        )


def _shorten(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
