"""References to Android in byte code, checked against stubs of its newest interface: any other would fail on a phone.

The interface has a method if its class, or one that it inherits from, has a method of that name whose parameters accept
the types of the reference.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge_asc.tool import CommandLine, run_tool

# As javap prints them.
DECLARATION = re.compile(
    r"^  [^\n]*?([\w.$]+)(?:\([^\n]*\))?(?: throws [^\n]*)?;\n    descriptor: (\S+)$", re.MULTILINE
)
REFERENCE = re.compile(r"// (?:InterfaceMethod|Method|Field) (?:([\w/$\"\[;]+)\.)?(\"<init>\"|[\w$]+):(\S+)")
HEADER = re.compile(r"^(?:[\w ]+ )?(?:class|interface) ([\w.$]+)(?:<.*>)?(?: extends ([\w.$]+))?", re.MULTILINE)
PRIMITIVES = {
    "I": "jint",
    "J": "jlong",
    "F": "jfloat",
    "D": "jdouble",
    "Z": "bool",
    "B": "jbyte",
    "S": "jshort",
    "C": "jchar",
}
# Packages of Android itself. All others come with the app, or are Java's.
PREFIXES = ("android.", "org.json.")


@dataclass(frozen=True, order=True)
class Reference:
    """A use of a member of a class.

    Attributes:
        owner: the class; a nested class stands after a dot.
        name: of the member; "<init>" for a constructor.
        descriptor: its types, as byte code states them.
        used_in: the class that uses it.
    """

    owner: str
    name: str
    descriptor: str
    used_in: str

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}{self.descriptor} in {self.used_in}"


def list_references(classes: Path) -> list[Reference]:
    """Return all uses of Android in a folder of classes, direct ones and inherited ones, sorted.

    Raises:
        EdgeAscError: javap cannot read the classes.
    """
    files = sorted(classes.rglob("*.class"))
    parents: dict[str, str] = {}
    declared: set[tuple[str, str, str]] = set()
    used: set[tuple[str, str, str, str]] = set()
    for start in range(0, len(files), 50):
        command: CommandLine = ["javap", "-c", "-p", "-s", *files[start : start + 50]]
        text = run_tool(command, "classes cannot be read", whole_output=True)
        for part in text.split("Compiled from ")[1:]:
            header = HEADER.search(part)
            if header is None:
                continue
            current = header[1]
            parents[current] = header[2] or "java.lang.Object"
            members = DECLARATION.findall(part)
            declared |= {(current, "<init>" if name == current else name, descriptor) for name, descriptor in members}
            for owner, name, descriptor in REFERENCE.findall(part):
                used.add((owner.strip('"').replace("/", ".") or current, name.strip('"'), descriptor, current))
    references = set()
    for owner, name, descriptor, user in used:
        declaring = owner
        while declaring in parents and (declaring, name, descriptor) not in declared:
            declaring = parents[declaring]
        if declaring.startswith(PREFIXES):
            references.add(Reference(declaring.replace("$", "."), name, descriptor, user))
    return sorted(references)


def find_missing(references: Sequence[Reference], stubs: Path) -> list[Reference]:
    """Return the references that a folder of stubs does not declare."""
    return [reference for reference in references if not _is_declared(reference, _Stubs(stubs))]


def _is_declared(reference: Reference, stubs: _Stubs) -> bool:
    for body in stubs.lineage(reference.owner):
        for member in body.body:
            if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                if not reference.descriptor.startswith("(") and member.target.id == reference.name:
                    return True
            elif isinstance(member, ast.FunctionDef) and reference.descriptor.startswith("("):
                name = "<init>" if member.name == "__init__" else member.name
                if name == reference.name and _accepts(member, _parameters(reference.descriptor)):
                    return True
        if reference.name == "<init>":
            return False
    return reference.name in ("getClass", "toString", "hashCode", "equals", "wait", "notify")


def _accepts(function: ast.FunctionDef, types: Sequence[str]) -> bool:
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in function.decorator_list)
    declared = [*function.args.posonlyargs, *function.args.args][0 if static else 1 :]
    annotations = [ast.unparse(argument.annotation) for argument in declared if argument.annotation]
    if function.args.vararg and function.args.vararg.annotation:
        annotations.append(f"JavaArray[{ast.unparse(function.args.vararg.annotation)}]")
    return len(annotations) == len(types) and all(map(_fits, annotations, types))


def _fits(annotation: str, kind: str) -> bool:
    """Whether a stub's annotation accepts a type of byte code."""
    if kind.startswith("["):
        return "Array" in annotation
    if kind in PRIMITIVES:
        return PRIMITIVES[kind] in annotation
    name = kind.strip("L;").rpartition("/")[2].rpartition("$")[2]
    # A type variable of the stubs is an object of byte code.
    python = {"String": "str", "Class": "Type["}.get(name)
    return name in ("Object", "Comparable") or name in annotation or (python is not None and python in annotation)


def _parameters(descriptor: str) -> list[str]:
    return re.findall(r"\[*(?:[IJFDZBSC]|L[^;]+;)", descriptor[1 : descriptor.index(")")])


class _Stubs:
    """The classes in a folder of Python stubs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lineage(self, name: str) -> Iterator[ast.ClassDef]:
        """Yield a class, by its dotted name, and all that it inherits from, as far as the stubs declare them."""
        body = self._find(name)
        if body is None:
            return
        yield body
        package = _package(name)
        for base in body.bases:
            while isinstance(base, ast.Subscript):
                base = base.value
            text = ast.unparse(base)
            yield from self.lineage(text if text.startswith(("android.", "java.", "org.")) else f"{package}.{text}")

    def _find(self, name: str) -> ast.ClassDef | None:
        package = _package(name)
        classes: Sequence[ast.stmt] = _module(self._folder, package)
        current = None
        for part in name[len(package) + 1 :].split("."):
            current = next((node for node in classes if isinstance(node, ast.ClassDef) and node.name == part), None)
            if current is None:
                return None
            classes = current.body
        return current


def _package(name: str) -> str:
    return ".".join(part for part in name.split(".") if part[:1].islower())


@cache
def _module(folder: Path, package: str) -> Sequence[ast.stmt]:
    first, *rest = package.split(".")
    path = folder.joinpath(f"{first}-stubs", *rest, "__init__.pyi")
    return ast.parse(path.read_text()).body if path.is_file() else []
