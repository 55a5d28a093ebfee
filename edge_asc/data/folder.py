"""The sound files of a folder, without what file managers and archives leave beside them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from edge_asc.errors import DatasetError

# fmt: off
SUFFIXES = frozenset({
    ".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mp3", ".mp4", ".oga", ".ogg", ".opus",
    ".rf64", ".snd", ".w64", ".wav", ".wave", ".webm", ".wma", ".wv",
})
# fmt: on
ARCHIVES = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"})
# Folders of systems and tools, which hold no sounds of the user's.
FOREIGN = frozenset({"__macosx", "@eadir", "__pycache__", "evaluation_setup"})


@dataclass(frozen=True)
class Folder:
    """The files of a folder, by their paths relative to it, sorted.

    Attributes:
        sounds: files with a suffix of audio.
        archives: archives, which nothing is read from.
        folders: folders at every depth.
        trained: folders that hold checkpoints.
    """

    sounds: tuple[PurePosixPath, ...]
    archives: tuple[PurePosixPath, ...]
    folders: tuple[PurePosixPath, ...]
    trained: tuple[PurePosixPath, ...]

    @classmethod
    def scan(cls, root: Path) -> Folder:
        """List a folder and all folders below it; hidden files and folders, such as `._x.wav`, are left out."""
        sounds: list[PurePosixPath] = []
        archives: list[PurePosixPath] = []
        folders: list[PurePosixPath] = []
        trained: list[PurePosixPath] = []
        seen: set[str] = set()
        for path, names, files in os.walk(root, followlinks=True):
            real = os.path.realpath(path)
            names[:] = sorted(name for name in names if not name.startswith(".") and name.casefold() not in FOREIGN)
            if real in seen:  # a link to a folder above it
                names.clear()
                continue
            seen.add(real)
            here = PurePosixPath(Path(path).relative_to(root).as_posix())
            folders += [here / name for name in names]
            if "checkpoint.json" in files:
                trained.append(here)
            for name in files:
                suffix = PurePosixPath(name).suffix.lower()
                if not name.startswith(".") and suffix in SUFFIXES | ARCHIVES:
                    (sounds if suffix in SUFFIXES else archives).append(here / name)
        return cls(*(tuple(sorted(paths)) for paths in (sounds, archives, folders, trained)))

    def within(self, folder: PurePosixPath) -> tuple[PurePosixPath, ...]:
        """Return the sound files in a folder, at any depth."""
        return tuple(self._by_folder.get(folder, ()))

    @cached_property
    def _by_folder(self) -> dict[PurePosixPath, list[PurePosixPath]]:
        by_folder: dict[PurePosixPath, list[PurePosixPath]] = {}
        for path in self.sounds:
            for parent in path.parents:
                by_folder.setdefault(parent, []).append(path)
        return by_folder

    def describe_archives(self) -> list[str]:
        """Return a sentence about archives; none where there are none."""
        if not self.archives:
            return []
        first, count = self.archives[0], len(self.archives)
        listed = f"{first} is an archive" if count == 1 else f"{count} files are archives, such as {first}"
        return [f"{listed}, which is left out: unpack it if it holds recordings"]

    def check_sounds(self, root: Path) -> None:
        """Check that there is any sound file.

        Raises:
            DatasetError: there is none.
        """
        if not self.sounds:
            archives = "".join(f"; {text}" for text in self.describe_archives())
            raise DatasetError(
                f"{root}: holds no sound files (such as .wav, .flac, .ogg or .mp3){archives}; expected a folder of "
                "recordings for each class: check the path"
            )
