"""House rules: sizes, imports and types of the packages, measured and held to fixed bars.

    python tools/house.py [ROOT]

A table shows each rule with its measurement and its bar. The exit status is 1 if a bar is broken; every violation is
then listed as `file:line: message`. The script needs the standard library alone.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 6
CIRCLES = 0
UPWARD_IMPORTS = 0
ANY_LINES = 8.0  # per 1,000 lines
ANY_MAPPINGS = 40

# Where packages are, relative to the root. Tests are not measured.
PACKAGES = (
    "edge_asc",
    "export/edge_asc_*",
    "benchmarks/edge_asc_*",
    "benchmarks/*/edge_asc_*",
    "android_demo/ci/edge_asc_*",
)
# A package imports from its own layer and from those before it. Packages not named here are in the last layer.
LAYERS = ("edge_asc", "edge_asc_export", "edge_asc_bench")

CLICK = frozenset({"command", "group", "option", "argument"})
MAPPINGS = frozenset({"dict", "Dict", "Mapping", "MutableMapping"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Violation:
    """One place that breaks a rule; `path` is relative to the root."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path.as_posix()}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Rule:
    """A measurement beside its bar, and the places that contribute to it."""

    name: str
    measured: float
    bar: float
    places: tuple[Violation, ...]

    @property
    def kept(self) -> bool:
        """Whether the measurement is within the bar."""
        return self.measured <= self.bar


@dataclass(frozen=True)
class Module:
    """One parsed module; `name` is dotted, and that of a package for its `__init__`."""

    name: str
    path: Path
    source: str
    tree: ast.Module = field(repr=False)

    @property
    def lines(self) -> int:
        """The number of lines."""
        return len(self.source.splitlines())

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.name.partition(".")[0]

    @property
    def parent(self) -> str:
        """The package that a relative import with one dot starts from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Import:
    """One imported name: `module` is a module, or a package and one of its names."""

    module: str
    line: int


def load_modules(root: Path) -> list[Module]:
    """Parse every module of the packages below `root`.

    Raises:
        SyntaxError: a module does not parse.
    """
    modules = []
    packages = sorted({path for pattern in PACKAGES for path in root.glob(pattern) if path.is_dir()})
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source, filename=str(path))
            modules.append(Module(name, path.relative_to(root), source, tree))
    return modules


def last_name(node: ast.expr) -> str:
    """Return the last part of a dotted name, or "" if the expression is not a name."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def walk_runtime(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node but the bodies of `if TYPE_CHECKING`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and last_name(child.test) == "TYPE_CHECKING":
            for alternative in child.orelse:
                yield from walk_runtime(alternative)
        else:
            yield from walk_runtime(child)


def imports_of(module: Module, nodes: Iterable[ast.AST]) -> Iterator[Import]:
    """Yield the imports among `nodes` of a module, and `import_module` with a literal name."""
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=base, names=names, level=level):
                parent = module.parent.split(".")
                above = parent[: len(parent) - level + 1] if level else []
                prefix = ".".join([*above, *([base] if base else [])])
                yield from (Import(f"{prefix}.{alias.name}", node.lineno) for alias in names)
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
                if last_name(function) == "import_module":
                    yield Import(name, node.lineno)


def find_long_modules(modules: Iterable[Module]) -> Iterator[Violation]:
    """Yield modules above `MODULE_LINES`."""
    for module in modules:
        if module.lines > MODULE_LINES:
            yield Violation(module.path, 1, f"the module has {module.lines} lines")


def functions_of(module: Module) -> Iterator[tuple[Function, bool]]:
    """Yield every function, nested ones too, and whether it is a method that takes `self` or `cls`."""
    methods = {
        id(statement)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, Function)
        and not any(last_name(decorator) == "staticmethod" for decorator in statement.decorator_list)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node, id(node) in methods


def find_long_functions(modules: Iterable[Module]) -> Iterator[Violation]:
    """Yield functions above `FUNCTION_LINES`, from `def` to their last line."""
    for module in modules:
        for function, _ in functions_of(module):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES:
                yield Violation(module.path, function.lineno, f"{function.name} has {lines} lines")


def is_command(function: Function) -> bool:
    """Whether click calls the function: its parameters are the options of a command."""
    decorators = (node.func if isinstance(node, ast.Call) else node for node in function.decorator_list)
    return any(last_name(decorator) in CLICK for decorator in decorators)


def count_parameters(function: Function, is_method: bool) -> int:
    """Count all parameters but `self` and `cls`; `*args` and `**kwargs` are one each."""
    given = function.args
    parameters = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
    return parameters + (given.vararg is not None) + (given.kwarg is not None) - is_method


def find_wide_functions(modules: Iterable[Module]) -> Iterator[Violation]:
    """Yield functions above `PARAMETERS`, click commands excepted."""
    for module in modules:
        for function, is_method in functions_of(module):
            parameters = count_parameters(function, is_method)
            if parameters > PARAMETERS and not is_command(function):
                yield Violation(module.path, function.lineno, f"{function.name} has {parameters} parameters")


def resolve(name: str, names: Mapping[str, Module]) -> str | None:
    """Return the module of the packages that an import loads: itself, or the one that it takes a name from."""
    if name in names:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in names else None


def find_circles(modules: Sequence[Module]) -> Iterator[Violation]:
    """Yield each circle of imports once, at its first module; imports for type checkers do not count."""
    names = {module.name: module for module in modules}
    edges: dict[str, dict[str, int]] = {name: {} for name in names}
    for module in modules:
        for imported in imports_of(module, walk_runtime(module.tree)):
            target = resolve(imported.module, names)
            if target is not None and target != module.name:
                edges[module.name].setdefault(target, imported.line)
    for component in strong_components(edges):
        if len(component) > 1:
            first = min(component)
            path = shortest_circle(first, edges, component)
            yield Violation(names[first].path, edges[first][path[1]], f"import circle {' -> '.join(path)}")


def strong_components(edges: Mapping[str, Mapping[str, int]]) -> list[set[str]]:
    """Return the strongly connected components of a graph (Kosaraju's algorithm)."""
    backward: dict[str, list[str]] = {name: [] for name in edges}
    for source, targets in edges.items():
        for target in targets:
            backward[target].append(source)
    visited: set[str] = set()
    order = [name for start in edges for name in reach(start, edges, visited)]
    visited = set()
    components = (set(reach(start, backward, visited)) for start in reversed(order))
    return [component for component in components if component]


def reach(start: str, edges: Mapping[str, Iterable[str]], visited: set[str]) -> list[str]:
    """Return what `start` reaches outside `visited`, which grows, each name after those that it leads to."""
    if start in visited:
        return []
    visited.add(start)
    order = []
    stack = [(start, iter(edges[start]))]
    while stack:
        name, targets = stack[-1]
        target = next((target for target in targets if target not in visited), None)
        if target is None:
            order.append(name)
            stack.pop()
        else:
            visited.add(target)
            stack.append((target, iter(edges[target])))
    return order


def shortest_circle(start: str, edges: Mapping[str, Iterable[str]], component: set[str]) -> list[str]:
    """Return the names on the shortest way from `start` back to it, `start` at both ends."""
    paths = [[start]]
    visited: set[str] = set()
    for path in paths:  # grows while it is read: breadth first
        for target in edges[path[-1]]:
            if target == start:
                return [*path, start]
            if target in component and target not in visited:
                visited.add(target)
                paths.append([*path, target])
    raise ValueError(f"{start} is in no circle")


def layer_of(package: str) -> int:
    """Return the place of a package in the order of layers."""
    return LAYERS.index(package) if package in LAYERS else len(LAYERS)


def find_upward_imports(modules: Sequence[Module]) -> Iterator[Violation]:
    """Yield imports of a package in a later layer, those for type checkers included."""
    for module in modules:
        places = set()
        for imported in imports_of(module, ast.walk(module.tree)):
            package = imported.module.partition(".")[0]
            is_ours = package == "edge_asc" or package.startswith("edge_asc_")
            if is_ours and layer_of(package) > layer_of(module.package):
                places.add((imported.line, package))
        for line, package in sorted(places):
            yield Violation(module.path, line, f"{module.package} imports {package}, which is above it")


def find_any_lines(modules: Iterable[Module]) -> Iterator[Violation]:
    """Yield lines of code that name `Any`, imports included, comments and strings not."""
    for module in modules:
        tokens = tokenize.generate_tokens(io.StringIO(module.source).readline)
        lines = {token.start[0] for token in tokens if token.type == tokenize.NAME and token.string == "Any"}
        yield from (Violation(module.path, line, "Any") for line in sorted(lines))


def find_any_mappings(modules: Iterable[Module]) -> Iterator[Violation]:
    """Yield each `dict[str, Any]`, and each `Mapping` of that kind."""
    for module in modules:
        for node in ast.walk(module.tree):
            match node:
                case ast.Subscript(value=base, slice=ast.Tuple(elts=[key, value])) if (
                    last_name(base) in MAPPINGS and last_name(key) == "str" and last_name(value) == "Any"
                ):
                    yield Violation(module.path, node.lineno, f"{last_name(base)}[str, Any]")


def measure(root: Path) -> list[Rule]:
    """Measure every rule on the packages below `root`.

    Raises:
        FileNotFoundError: there are no packages below `root`.
        SyntaxError: a module does not parse.
    """
    modules = load_modules(root)
    if not modules:
        raise FileNotFoundError(f"{root} holds no packages; expected the root of the repository")
    total = sum(module.lines for module in modules)

    def count(name: str, bar: int, places: Iterable[Violation]) -> Rule:
        places = tuple(places)
        return Rule(name, len(places), bar, places)

    any_lines = tuple(find_any_lines(modules))
    return [
        count(f"modules above {MODULE_LINES} lines", 0, find_long_modules(modules)),
        count(f"functions above {FUNCTION_LINES} lines", 0, find_long_functions(modules)),
        count(f"functions above {PARAMETERS} parameters", 0, find_wide_functions(modules)),
        count("import circles", CIRCLES, find_circles(modules)),
        count("imports that run up", UPWARD_IMPORTS, find_upward_imports(modules)),
        Rule("lines with Any per 1,000 lines", 1000 * len(any_lines) / total, ANY_LINES, any_lines),
        count("mappings of str to Any", ANY_MAPPINGS, find_any_mappings(modules)),
    ]


def main(arguments: Sequence[str]) -> int:
    """Print the table, then every violation of a broken bar; return the exit status."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    rules = measure(root)
    width = max(len(rule.name) for rule in rules)
    print(f"{'rule':{width}}  measured    bar")
    for rule in rules:
        print(f"{rule.name:{width}}  {rule.measured:8.4g}  {rule.bar:5.4g}  {'ok' if rule.kept else 'BROKEN'}")
    for rule in rules:
        if not rule.kept:
            print(f"\n{rule.name}: {rule.measured:.4g}, at most {rule.bar:.4g} allowed")
            print(*sorted(rule.places, key=lambda place: (place.path, place.line)), sep="\n")
    return 0 if all(rule.kept for rule in rules) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
