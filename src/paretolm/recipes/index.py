"""What methods there are: our files by AST, third parties by entry point; a module is imported only when asked for.

Third parties add `[project.entry-points."paretolm.methods"]` with `name = "module:Class"`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RecipeError, nearest
from .source import KnobInfo, MethodInfo, first_sentence, read_method
from .words import method_name

if TYPE_CHECKING:
    from ..contracts import Method

GROUP = "paretolm.methods"
SHELVES = (
    "prompt", "tokens", "weights", "blocks", "frequency", "index", "attend", "keep", "store", "decode", "logits",
)  # fmt: skip


class Index:
    """The methods below `root`, importable as `package`: one public file a method, its folder the shelf."""

    def __init__(self, root: Path, package: str) -> None:
        self.root, self.package = root, package

    @cached_property
    def files(self) -> dict[str, Path]:
        """Method name -> file, relative to the root."""
        found: dict[str, Path] = {}
        for path in sorted(self.root.rglob("*.py")):
            relative = path.relative_to(self.root)
            if any(part.startswith(("_", ".")) for part in relative.parts):
                continue
            name = method_name(path.stem)
            if relative.parts[0] not in SHELVES:
                raise RuntimeError(f"{relative} stands on no shelf")
            if name in found:
                raise RuntimeError(f"{found[name]} and {relative} give one name to two methods")
            found[name] = relative
        return found

    def shelf(self, name: str) -> str:
        return self.files[name].parent.as_posix()

    def module(self, name: str) -> str:
        return ".".join((self.package, *self.files[name].with_suffix("").parts))

    def rank(self, name: str) -> int:
        """Order of application of the shelf."""
        return SHELVES.index(self.files[name].parts[0])

    @cached_property
    def all(self) -> tuple[MethodInfo, ...]:
        return tuple(self.info(n) for n in sorted(self.files, key=lambda n: (self.rank(n), self.shelf(n), n)))

    def info(self, name: str) -> MethodInfo:
        return read_method(self.root, self.package, self.module(name), name, self.shelf(name))

    def load(self, name: str) -> type[Method]:
        module = importlib.import_module(self.module(name))
        return next(c for c in vars(module).values() if _is_public_method(c) and c.__module__ == module.__name__)


@cache
def own() -> Index:
    return Index(Path(__file__).parent.parent / "methods", "paretolm.methods")


def method_names() -> tuple[str, ...]:
    """Every name a recipe may use, sorted."""
    return tuple(sorted({*own().files, *_third_parties()}))


def methods() -> tuple[MethodInfo, ...]:
    """Our methods in order of shelf and name; third parties are described one by one, as they need an import."""
    return own().all


def method_info(name: str) -> MethodInfo:
    """Raises RecipeError for an unknown name."""
    known = method_name(name)
    return own().info(known) if known in own().files else describe(load_method(name))


def shelf_rank(name: str) -> int | None:
    """Order of application of the shelf a method of ours stands on; None for any other."""
    return own().rank(name) if name in own().files else None


def load_method(name: str) -> type[Method]:
    """The class behind a name; imports its module. Raises RecipeError for an unknown name or a clash."""
    known, third = method_name(name), _third_parties()
    claims = third.get(known, [])
    if known in own().files and not claims:
        return own().load(known)
    if not claims:
        raise RecipeError(f"there is no method {name!r}{nearest(known, method_names())}")
    if known in own().files or len(claims) > 1:
        targets = [*([own().module(known)] if known in own().files else []), *(c.value for c in claims)]
        raise RecipeError(f"the method name {known!r} is claimed by {' and by '.join(targets)}; one must be renamed")
    return _load_entry_point(known, claims[0])


def describe(cls: type[Method]) -> MethodInfo:
    """What `method_info` reads from the source, read from the class."""
    knobs = tuple(_describe_knob(f) for f in dataclasses.fields(cls) if f.init)
    summary = first_sentence(inspect.cleandoc(cls.__doc__ or ""))
    shelf = own().shelf(cls.name) if cls.name in own().files else ""
    return MethodInfo(
        cls.name, shelf, cls.__module__, cls.__name__, cls.papers, cls.exact, cls.baseline, summary, knobs, cls.entries
    )


def _describe_knob(f: dataclasses.Field[object]) -> KnobInfo:
    from .parse import spell

    annotation = f.type if isinstance(f.type, str) else inspect.formatannotation(f.type)
    default = None if f.default is dataclasses.MISSING else spell(f.default)
    extra = {k: v for k, v in f.metadata.items() if k in ("low", "high", "choices", "help")}
    return KnobInfo(f.name, ast.unparse(ast.parse(annotation, mode="eval")), default, **extra)


@cache
def _third_parties() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(method_name(point.name), []).append(point)
    return found


def _load_entry_point(name: str, point: EntryPoint) -> type[Method]:
    try:
        cls = point.load()
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            f"the method {name!r} of another package ({point.value}) cannot be loaded: {error}"
        ) from error
    if not _is_public_method(cls):
        raise RecipeError(f"the method {name!r} of another package ({point.value}) is not a Method")
    if cls.name != name:
        raise RecipeError(f"{point.value} is registered as {name!r} but calls itself {cls.name!r}; both must agree")
    return cls


def _is_public_method(value: object) -> bool:
    from ..contracts import Method

    return isinstance(value, type) and issubclass(value, Method) and not value.__name__.startswith("_")
