"""A project's own modules: which of them a stage reaches by import, and the lock that follows from that."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.runtime.code_locks.lock import NOT_INSTALLED, CodeError, CodeLock
from pipeline.runtime.code_locks.memo import Memo
from pipeline.runtime.code_locks.source import ModuleSource, read_source

_OF_NOTHING = read_source(b"", "", is_package=True).digest


class SourceTree:
    """A project's own modules.

    Args:
        root: the folder that its packages lie in.
        packages: names of the packages that are the project's.
        libraries: import name to the names under which it may be installed; their versions belong to locks.
        left_out: modules that cannot change a result; `a.b` is that module alone, `a.b.*` a package with all below it.
            They are not followed.
        memo: a file that keeps digests by content, so that no source is parsed twice; None keeps none.
    """

    def __init__(
        self,
        root: Path,
        packages: Iterable[str],
        libraries: Mapping[str, tuple[str, ...]],
        left_out: Iterable[str] = (),
        memo: Path | None = None,
    ) -> None:
        self.root, self._packages, self._libraries = Path(root), tuple(packages), libraries
        self._left_out = tuple(left_out)
        self._alone = {name.removesuffix(".*") for name in self._left_out}
        self._below = tuple(name[:-1] for name in self._left_out if name.endswith(".*"))
        self._memo = Memo(memo)
        self._paths: dict[str, str | None] | None = None
        self._sources: dict[str, ModuleSource] = {}

    @contextmanager
    def at_one_time(self) -> Iterator[None]:
        """Within, each module is looked up and read once, for several locks of sources that do not change meanwhile."""
        self._paths = {}
        try:
            yield
        finally:
            self._paths = None
            self._sources.clear()

    def lock(self, module: str, parts: Iterable[str] = ()) -> CodeLock:
        """The lock of a stage's module, from the sources as they are now.

        Args:
            parts: further modules, which the stage loads by a name that it is given.

        Raises:
            CodeError: there is no such module, or one of them cannot be read or is not valid Python.
        """
        roots = (module, *parts)
        for name in roots:
            if not self.has(name):
                raise CodeError(f"{name}: no such module in {self.root}; put it back, or check the name")
        sources = self._reached_from(roots)
        imported = {name.partition(".")[0] for source in sources.values() for name in source.imports}
        used = sorted(imported & self._libraries.keys())
        return CodeLock(
            module,
            {name: _version(name, self._libraries[name]) for name in used},
            {path: source.digest for path, source in sorted(sources.items())},
            roots[1:],
        )

    def has(self, module: str) -> bool:
        """Whether there is a module of this name."""
        return self._path(module) is not None

    def missing(self, lock: CodeLock) -> dict[str, str]:
        """The project's modules that are imported in what a lock names and are not there, each with a path that imports
        it; but for imports within `try`, which the code may do without.

        Raises:
            CodeError: a module cannot be read or is not valid Python.
        """
        found: dict[str, str] = {}
        for path in lock.modules:
            source = self._source(_module_name(Path(path)), path)
            wanted = [name for name in source.wanted if self._defines_nothing(name.rpartition(".")[0])]
            for name in (*source.needed, *wanted):
                if self._is_own(name) and not self._is_there(name):
                    found.setdefault(name, path)
        return found

    def paths_to(self, module: str, parts: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
        """By each path of a stage's closure, a shortest chain of paths by which the stage's module comes to import it,
        from the stage's own, or that of one of its parts, to itself."""
        chains: dict[str, tuple[str, ...]] = {}
        waiting = [module, *parts]
        for name in waiting:
            if path := self._path(name):
                chains[path] = (path,)
        for name in waiting:
            here = self._path(name)
            if here is None:
                continue
            for other in self._loaded_by(name, self._source(name, here)):
                path = self._path(other)
                if path is not None and path not in chains:
                    chains[path] = (*chains[here], path)
                    waiting.append(other)
        return chains

    def unlocked(self, lock: CodeLock, loaded: Iterable[str] | None = None) -> list[str]:
        """The project's modules that are loaded, and neither in a lock nor left out nor imported by what is left out
        alone: a result would depend on them without its lock's saying so.

        Args:
            loaded: names of modules; those of this process by default.
        """
        names = list(sys.modules) if loaded is None else list(loaded)
        own = [name for name in names if self._is_own(name) and not self.is_left_out(name)]
        unknown = {path for name in own if (path := self._path(name)) and path not in lock.modules}
        if unknown:
            unknown -= self._beside_results()
        return sorted(unknown)

    def is_left_out(self, name: str) -> bool:
        """Whether a module is one that cannot change a result."""
        return name in self._alone or name.startswith(self._below)

    def keep_memo(self) -> None:
        """Write what was parsed, so that it need not be parsed again."""
        self._memo.write()

    def _beside_results(self) -> set[str]:
        """Paths of what is left out and of what that imports."""
        names = [out for out in self._left_out if not out.endswith(".*")]
        for out in self._left_out:
            if out.endswith(".*"):
                files = (self.root / Path(*out.split(".")[:-1])).rglob("*.py")
                names += [_module_name(file.relative_to(self.root)) for file in files]
        return set(self._reached_from(names, follow_all=True, skip_broken=True))

    def _reached_from(
        self, names: Iterable[str], *, follow_all: bool = False, skip_broken: bool = False
    ) -> dict[str, ModuleSource]:
        found: dict[str, ModuleSource] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            path = self._path(name)
            if path is None or path in found:
                continue
            try:
                found[path] = self._source(name, path)
            except CodeError:
                if skip_broken:  # half saved, perhaps, and no result depends on it
                    continue
                raise
            waiting += self._loaded_by(name, found[path], follow_all)
        return found

    def _loaded_by(self, name: str, source: ModuleSource, follow_all: bool = False) -> list[str]:
        """The project's modules that importing one loads, the packages they lie in among them."""
        named = [other for other in (name, *source.imports) if self._is_own(other)]
        loaded = sorted({parent for other in named for parent in _with_parents(other)} - {name})
        return loaded if follow_all else [other for other in loaded if not self.is_left_out(other)]

    def _is_own(self, name: str) -> bool:
        return name.partition(".")[0] in self._packages

    def _path(self, name: str) -> str | None:
        """A module's file below the root; None where there is none of the name."""
        if self._paths is None:
            return self._find(name)
        if name not in self._paths:
            self._paths[name] = self._find(name)
        return self._paths[name]

    def _find(self, name: str) -> str | None:
        parts = name.split(".")
        if not self._is_own(name) or not all(map(str.isidentifier, parts)):
            return None
        for path in ("/".join((*parts, "__init__.py")), "/".join(parts) + ".py"):
            if os.path.isfile(os.path.join(self.root, path)):
                return path
        return None

    def _is_there(self, name: str) -> bool:
        """Whether a name can be imported: it is a module, or a folder of such without an `__init__.py`."""
        return self.has(name) or os.path.isdir(os.path.join(self.root, *name.split(".")))

    def _defines_nothing(self, name: str) -> bool:
        """Whether whatever is imported from a name must be a module: it is a package without code of its own."""
        path = self._path(name)
        if path is None:
            return self._is_there(name)
        return path.endswith("__init__.py") and self._source(name, path).digest == _OF_NOTHING

    def _source(self, name: str, path: str) -> ModuleSource:
        if self._paths is None:
            return self._read(name, path)
        if path not in self._sources:
            self._sources[path] = self._read(name, path)
        return self._sources[path]

    def _read(self, name: str, path: str) -> ModuleSource:
        try:
            return self._memo.source((self.root / path).read_bytes(), name, is_package=path.endswith("__init__.py"))
        except SyntaxError as error:
            place = f"{path}:{error.lineno}" if error.lineno else path
            raise CodeError(f"{place}: {error.msg}; fix it") from None
        except ValueError as error:  # null bytes, as early releases of 3.11 have it
            raise CodeError(f"{path}: {error}; fix it") from None
        except (RecursionError, MemoryError):
            raise CodeError(f"{path}: is nested too deeply for Python to parse; fix it") from None
        except OSError as error:
            raise CodeError(f"{path}: {error.strerror or error}") from None


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _version(module: str, distributions: tuple[str, ...]) -> str:
    """The version of the installed distribution, without its build label (`+cu130`)."""
    for name in distributions:
        # An interrupted install leaves a folder without metadata, for which `version` returns None.
        with suppress(PackageNotFoundError, KeyError):
            if found := version(name):
                return found.partition("+")[0]
    try:  # built in place, or of a distribution by another name
        return str(import_module(module).__version__).partition("+")[0]
    except (ImportError, OSError, AttributeError):
        return NOT_INSTALLED
