"""One method read from its file by AST: no import, no torch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from .words import spell_plain


@dataclass(frozen=True)
class KnobInfo:
    """A knob as people read it. default: as a recipe writes it; None where a value must be given."""

    name: str
    annotation: str
    default: str | None
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] | None = None
    help: str = ""


@dataclass(frozen=True)
class MethodInfo:
    """A method as people read it. shelf: its folder ('keep', 'attend/masks'); '' for third parties. entries: as
    in Method."""

    name: str
    shelf: str
    module: str
    cls: str
    papers: tuple[str, ...]
    exact: bool
    baseline: bool
    summary: str
    knobs: tuple[KnobInfo, ...]
    entries: tuple[str, ...] = ()


class Source:
    """One parsed file of a package of methods; base classes are followed into the package's other files."""

    def __init__(self, root: Path, package: str, module: str) -> None:
        self.root, self.package, self.module = root, package, module
        self.path = root.joinpath(*module.removeprefix(package).split(".")[1:]).with_suffix(".py")
        self.tree = ast.parse(self.path.read_bytes(), str(self.path))
        self.classes = {n.name: n for n in self.tree.body if isinstance(n, ast.ClassDef)}

    def method(self) -> ast.ClassDef:
        """The one public class that derives from Method. A file with none or two is our own mistake."""
        found = [c for c in self.classes.values() if not c.name.startswith("_") and self.is_method(c)]
        if len(found) != 1:
            names = ", ".join(c.name for c in found) or "none"
            raise RuntimeError(f"{self.path} must define one public class deriving from Method; it defines {names}")
        return found[0]

    def is_method(self, cls: ast.ClassDef) -> bool:
        return any(_last_name(b) == "Method" for b in cls.bases) or any(s.is_method(c) for s, c in self.parents(cls))

    def parents(self, cls: ast.ClassDef) -> Iterator[tuple[Source, ast.ClassDef]]:
        """Base classes defined in the package."""
        for base in cls.bases:
            name = _last_name(base)
            if name in self.classes:
                yield self, self.classes[name]
            elif name in self.imported:
                module, original = self.imported[name]
                source = Source(self.root, self.package, module)
                if original in source.classes:
                    yield source, source.classes[original]

    def lineage(self, cls: ast.ClassDef) -> list[tuple[Source, ast.ClassDef]]:
        """The class after its bases, the oldest first, as dataclasses collect fields."""
        older = [pair for source, parent in self.parents(cls) for pair in source.lineage(parent)]
        return [*older, (self, cls)]

    @cached_property
    def imported(self) -> dict[str, tuple[str, str]]:
        """Local name -> (module, name there) of what comes from the package."""
        names: dict[str, tuple[str, str]] = {}
        for node in self.tree.body:
            if not isinstance(node, ast.ImportFrom):
                continue
            base = self.module.split(".")[: -node.level] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if module.startswith(self.package + "."):
                names |= {a.asname or a.name: (module, a.name) for a in node.names}
        return names

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        """Module-level names bound once to an expression."""
        found = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                found[node.target.id] = node.value
        return found

    def value(self, node: ast.expr) -> Any:
        """A literal, also behind a module-level name or inside a tuple."""
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.value(self.constants[node.id])
        if isinstance(node, ast.Tuple | ast.List):
            return tuple(self.value(n) for n in node.elts)
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise RuntimeError(f"{self.path}, line {node.lineno}: only literals are read without importing") from None

    def spelled(self, node: ast.expr) -> str:
        """A default as a recipe writes it; a budget and a second model by what stands in the call."""
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.spelled(self.constants[node.id])
        if isinstance(node, ast.Call):
            words = [self.value(a) for a in (*node.args, *(k.value for k in node.keywords))]
            match _last_name(node.func):
                case "parse" | "ModelRef" if len(words) == 1:
                    return str(words[0])
                case "Budget":
                    return f"{Decimal(repr(words[0])):f}".removesuffix(".0") + words[1]
                case "ModelRef":
                    return f"{words[0]} [{words[1]}]" if words[1] else str(words[0])
        return spell_plain(self.value(node))


def read_method(root: Path, package: str, module: str, name: str, shelf: str) -> MethodInfo:
    """What people must know of the method in `module`, a file below `root`."""
    source = Source(root, package, module)
    cls = source.method()
    facts: dict[str, Any] = {"papers": (), "exact": False, "baseline": False, "entries": ()}
    knobs: dict[str, KnobInfo] = {}
    for owner, ancestor in source.lineage(cls):
        for node in ancestor.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if not ast.unparse(node.annotation).startswith("ClassVar"):
                    knobs[node.target.id] = _knob(owner, node)
                elif node.target.id in facts and node.value:
                    facts[node.target.id] = owner.value(node.value)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in facts:
                facts[node.targets[0].id] = owner.value(node.value)
    summary = first_sentence(ast.get_docstring(cls) or "")
    return MethodInfo(name, shelf, module, cls.name, summary=summary, knobs=tuple(knobs.values()), **facts)


def first_sentence(docstring: str) -> str:
    """Of the first paragraph, on one line."""
    paragraph = " ".join(docstring.strip().partition("\n\n")[0].split())
    end = re.search(r"\.(?= [A-Z])", paragraph)
    return paragraph[: end.end()] if end else paragraph


def _knob(source: Source, node: ast.AnnAssign) -> KnobInfo:
    assert isinstance(node.target, ast.Name)
    name, annotation = node.target.id, ast.unparse(node.annotation)
    if node.value is None:
        return KnobInfo(name, annotation, None)
    if isinstance(node.value, ast.Call) and _last_name(node.value.func) in ("knob", "field"):
        named = {k.arg: k.value for k in node.value.keywords if k.arg}
        default = node.value.args[0] if node.value.args else named.pop("default")
        extra = {k: source.value(v) for k, v in named.items() if k in ("low", "high", "choices", "help")}
        return KnobInfo(name, annotation, source.spelled(default), **extra)
    return KnobInfo(name, annotation, source.spelled(node.value))


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
