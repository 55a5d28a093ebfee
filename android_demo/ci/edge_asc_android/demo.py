"""The sources of the Android demo, which lie in a clone of the repository and not in the installed package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge_asc.errors import EdgeAscError

BUILD_FILE = "app/build.gradle.kts"


@dataclass(frozen=True)
class Demo:
    """The folder `android_demo` of a clone.

    Attributes:
        root: the folder.
    """

    root: Path

    @classmethod
    def find(cls) -> Demo:
        """Return the demo of the clone that this package lies in.

        Raises:
            EdgeAscError: this package is installed without a clone.
        """
        root = Path(__file__).parents[2]
        if not (root / BUILD_FILE).is_file():
            raise EdgeAscError(
                f"the Android demo's Kotlin sources are not in {root}; expected a clone of the edge-asc repository: "
                "clone it, and run there: pip install -e '.[all]'"
            )
        return cls(root)

    @property
    def app(self) -> Path:
        """The main source set of the app."""
        return self.root / "app/src/main"

    @property
    def ci(self) -> Path:
        """Files of the build without Gradle: npm packages, shims and stubs."""
        return self.root / "ci"

    def kotlin(self, module: str, source_set: str) -> Path:
        """Return the folder of the Kotlin sources of a module, such as "core", and a source set, "main" or "test"."""
        return self.root / module / "src" / source_set / "kotlin"

    def setting(self, name: str) -> str:
        """Return a setting of the app's Gradle build file, such as "minSdk".

        Raises:
            EdgeAscError: the file does not set it.
        """
        path = self.root / BUILD_FILE
        match = re.search(rf"^\s*{name} = \"?([^\"\n]+)\"?$", path.read_text(), re.MULTILINE)
        if match is None:
            raise EdgeAscError(f"{path}: {name} is not set; expected a line `{name} = …`")
        return match[1]
