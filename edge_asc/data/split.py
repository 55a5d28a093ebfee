"""Splits of clips into training and validation."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from edge_asc.data.dataset import Clip
from edge_asc.errors import DatasetError


def group_split(clips: Sequence[Clip], fraction: float, seed: int) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Split clips into training and validation by whole groups, each in the order of `clips`.

    About `fraction` of the clips of each label, 0 < fraction < 1, go to validation: at least one group of a
    label that has two, and never all of them. The same clips and seed give the same split, in any order.

    Raises:
        DatasetError: fraction is out of range, or no label has two groups.
    """
    if not 0 < fraction < 1:
        raise DatasetError(f"validation fraction is {fraction}; expected more than 0 and less than 1")
    members: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        members[clip.group].append(clip.label)
    groups: dict[str, list[str]] = defaultdict(list)
    for group, labels in members.items():
        # A group with clips of several labels counts for its most frequent one.
        groups[min(labels, key=lambda label: (-labels.count(label), label))].append(group)

    held_out: set[str] = set()
    for candidates in groups.values():
        if len(candidates) < 2:
            continue
        # Ordered by a hash rather than a generator, so that a split does not depend on a library's version.
        candidates.sort(key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest())
        missing = fraction * sum(len(members[group]) for group in candidates)
        chosen: list[str] = []
        for group in candidates:
            size = len(members[group])
            if size < 2 * missing and len(chosen) < len(candidates) - 1:
                chosen.append(group)
                missing -= size
        held_out.update(chosen or [min(candidates, key=lambda group: len(members[group]))])
    if not held_out:
        raise DatasetError(
            f"{len(clips)} clips of {len(members)} groups cannot be split: no label has two groups; "
            "expected at least two places or recordings of some label"
        )
    train = tuple(clip for clip in clips if clip.group not in held_out)
    return train, tuple(clip for clip in clips if clip.group in held_out)
