"""Which clips a checkpoint has seen, itself or through its teachers, and a check against held-out clips."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from edge_asc.data.dataset import Clip
from edge_asc.errors import EdgeAscError

SEEN, TAUGHT = "clips_seen", "clips_seen_by_teachers"
# Of the files of all these clips, the first DIGITS of each SHA-256: one recording may have two names.
AUDIO, DIGITS = "audio_seen", 10
# Checkpoints of version 0.1 carry hashes of names without their folder.
STEMS, TAUGHT_STEMS = "clip_ids", "taught_clip_ids"


def clip_id(filename: str) -> str:
    """A short hash of a clip's relative name without its suffix, by which a checkpoint remembers what it has seen.

    The suffix is left out since one recording may be in two data sets in two formats. Accents are composed.
    """
    return _short_hash(unicodedata.normalize("NFC", str(PurePosixPath(filename).with_suffix(""))))


def stem_id(filename: str) -> str:
    """The hash of a name without folder and suffix, as version 0.1 recorded it."""
    return _short_hash(PurePosixPath(filename).stem)


def trained_on(training: Mapping[str, Any], filenames: Collection[str], digests: Sequence[str] = ()) -> int:
    """How many of the files a checkpoint or its teachers were trained on, as far as names and content show.

    Args:
        training: provenance of the checkpoint; that of an older one holds no digests.
        filenames: of the clips.
        digests: SHA-256 of each file; empty compares names alone.
    """
    ids = {*training.get(SEEN, ()), *training.get(TAUGHT, ())}
    stems = {*training.get(STEMS, ()), *training.get(TAUGHT_STEMS, ())}
    audio = set(training.get(AUDIO, ()))
    same = [digest[:DIGITS] in audio for digest in digests] or [False] * len(filenames)
    return sum(
        clip_id(name) in ids or stem_id(name) in stems or seen for name, seen in zip(filenames, same, strict=True)
    )


def record_seen(
    clips: Iterable[Clip],
    before: Mapping[str, Any],
    taught: Sequence[Mapping[str, Any]],
    digests: Iterable[str] = (),
) -> dict[str, list[str]]:
    """The entries of a checkpoint's provenance: clips seen in this training and those `before`, and by teachers."""
    own = {clip_id(clip.filename) for clip in clips} | set(before.get(SEEN, ()))
    by_teachers = {each for training in (before, *taught) for each in training.get(TAUGHT, ())}
    by_teachers |= {each for training in taught for each in training.get(SEEN, ())}
    stems = set(before.get(STEMS, ()))
    taught_stems = {each for training in taught for name in (STEMS, TAUGHT_STEMS) for each in training.get(name, ())}
    taught_stems |= set(before.get(TAUGHT_STEMS, ()))
    audio = {digest[:DIGITS] for digest in digests}
    audio |= {each for training in (before, *taught) for each in training.get(AUDIO, ())}
    entries = {SEEN: own, TAUGHT: by_teachers - own, STEMS: stems, TAUGHT_STEMS: taught_stems - stems, AUDIO: audio}
    return {name: sorted(ids) for name, ids in entries.items() if ids or name == SEEN}


def check_duplicates(training: Mapping[str, str], held_out: Mapping[str, str], source: str) -> None:
    """Make sure that no recording is trained on and held out under two names.

    Args:
        training: SHA-256 of each file that is trained on, and its name.
        held_out: the same of the held-out clips.
        source: subject and verb of what holds them out, such as "fold 1 holds out".

    Raises:
        EdgeAscError: some are.
    """
    if both := sorted(training.keys() & held_out.keys()):
        raise EdgeAscError(
            f"{len(both)} of the {len(held_out)} recordings that {source} are trained on under another "
            f"name, such as {held_out[both[0]]} and {training[both[0]]}; remove one of each pair"
        )


def check_leakage(
    used: Iterable[tuple[Path, Mapping[str, Any]]], held_out: Sequence[Clip], source: str, digests: Sequence[str] = ()
) -> None:
    """Make sure that no checkpoint that a run starts from or learns from has seen the clips that judge it.

    Args:
        used: path and provenance of each checkpoint.
        held_out: the clips that it must not have seen.
        source: subject and verb of what holds them out, such as "fold 1 holds out".
        digests: SHA-256 of the file of each held-out clip.

    Raises:
        EdgeAscError: a checkpoint has seen some of them.
    """
    for path, training in used:
        if count := trained_on(training, [clip.filename for clip in held_out], digests):
            raise EdgeAscError(
                f"{path}: was trained on {count} of the {len(held_out)} clips that {source}; expected a "
                "checkpoint with a folder for this fold, or one trained without these clips: another --from, or "
                "--from none"
            )


def _short_hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:10]
