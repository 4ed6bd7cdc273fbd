"""`PythonFunctionLoader`: functions by module or file, as callables that run confined."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import CallError, ModuleLoadError, SandboxError
from elf_pysandbox._tools.load import context_of_file, context_of_module
from elf_pysandbox._tools.schema import Description, describe
from elf_pysandbox._tools.tool import Tool

if TYPE_CHECKING:
    from elf_pysandbox._limits import Limits
    from elf_pysandbox._outcome import Outcome
    from elf_pysandbox._policy import Policy
    from elf_pysandbox._pool import SandboxPool


class LoadedFunction:
    """A function of a loaded module: calling it runs it confined.

    Attributes
    ----------
    tool : Tool
        The function as last read.
    """

    def __init__(self, loader: PythonFunctionLoader, tool: Tool, read: Callable[[], Tool]) -> None:
        self._loader, self._read = loader, read
        self.tool = tool
        self.__name__ = tool.name
        self.__qualname__ = tool.path
        self._stamp = _stamp(tool)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function; returns its value or raises `CallError`."""
        return self._loader.pool.call(self.current(), *args, **kwargs)

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """`__call__` for a running event loop."""
        return await self._loader.pool.acall(self.current(), *args, **kwargs)

    def outcome(self, *args: Any, **kwargs: Any) -> Outcome:
        """Run the function and return how that ended."""
        return self._loader.pool.outcome(self.current(), *args, **kwargs)

    def current(self) -> Tool:
        """The tool; in development mode read again first if one of its files has changed."""
        if self._loader.development and _stamp(self.tool) != self._stamp:
            self.reload()
        return self.tool

    def reload(self) -> bool:
        """Read the files again; True when something in them has changed."""
        fresh = self._read()
        changed = fresh.key != self.tool.key
        if changed:
            self.tool = fresh
        self._stamp = _stamp(self.tool)
        return changed

    def __repr__(self) -> str:
        return f"<confined function {self.tool.context.name}:{self.tool.path}>"


class PythonFunctionLoader:
    """Loads Python functions from modules and files. Files are read, never imported: functions run in a pool.

    Parameters
    ----------
    allowed_modules : sequence of str, optional
        Modules that functions may be loaded from, with what is below them ("my_tools" allows "my_tools.text");
        any by default. Holds for files by the module name they get.
    python_path : sequence of str
        Folders to search modules in, before `sys.path`.
    pool : SandboxPool, optional
        Where functions run. Without one the loader makes its own with `policy` and `limits`.
    policy, limits : Policy, Limits, optional
    development : bool
        Before each call, look whether a file has changed, and read it again.

    Attributes
    ----------
    loaded_functions : dict of str to LoadedFunction
        By ``"module:function"``.
    function_schemas : dict of str to dict
        Likewise, as far as they were asked for.
    """

    def __init__(
        self,
        allowed_modules: Sequence[str] | None = None,
        *,
        python_path: Sequence[str] = (),
        pool: SandboxPool | None = None,
        policy: Policy | None = None,
        limits: Limits | None = None,
        development: bool = False,
    ) -> None:
        self.allowed_modules = None if allowed_modules is None else tuple(allowed_modules)
        self.development = development
        self.loaded_functions: dict[str, LoadedFunction] = {}
        self.function_schemas: dict[str, dict[str, Any]] = {}
        self._python_path = tuple(python_path)
        self._given, self._pool = pool, pool
        self._options = {"policy": policy, "limits": limits}
        self._descriptions: dict[str, Description] = {}

    @property
    def pool(self) -> SandboxPool:
        """The pool that runs the functions, made when it is first needed."""
        if self._pool is None:
            from elf_pysandbox._pool import SandboxPool

            options: dict[str, Any] = {
                name: value for name, value in self._options.items() if value is not None
            }
            self._pool = SandboxPool(**options)
        return self._pool

    def close(self) -> None:
        """End the pool, if it is the loader's own."""
        if self._pool is not None and self._given is None:
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> PythonFunctionLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- loading --

    def load_function(self, module_path: str, function_name: str) -> LoadedFunction:
        """Load a function of a module.

        Parameters
        ----------
        module_path : str
            Dotted name, found on the python path without importing anything.
        function_name : str
            Its name, or a dotted path such as ``Class.method``.

        Raises
        ------
        ModuleLoadError
            The module is not allowed, or there is none.
        """
        self._allow(module_path)

        def read() -> Tool:
            context = context_of_module(module_path, function_name, python_path=self._python_path)
            return Tool(function_name.rpartition(".")[2], context, function_name)

        return self._load(f"{module_path}:{function_name}", read)

    def load_from_file(self, file_path: str | os.PathLike[str], function_name: str) -> LoadedFunction:
        """Load a function of a file; see `load_function`."""
        path = Path(file_path)

        def read() -> Tool:
            context = context_of_file(path, python_path=self._python_path)
            self._allow(context.name)
            return Tool(function_name.rpartition(".")[2], context, function_name)

        return self._load(f"{os.path.abspath(path)}:{function_name}", read)

    def _allow(self, module: str) -> None:
        allowed = self.allowed_modules
        if allowed is None or any(module == name or module.startswith(name + ".") for name in allowed):
            return
        raise ModuleLoadError(
            f"module {module!r} is not among the allowed ones ({', '.join(allowed) or 'none'}): add it to "
            "allowed_modules"
        )

    def _load(self, key: str, read: Callable[[], Tool]) -> LoadedFunction:
        found = self.loaded_functions.get(key)
        if found is None:
            found = self.loaded_functions[key] = LoadedFunction(self, read(), read)
        elif self.development:
            found.current()
        return found

    def reload(self) -> list[str]:
        """Read all loaded functions again; returns the keys of those that have changed.

        Raises
        ------
        ModuleLoadError
            A file is gone.
        """
        changed = [key for key, function in self.loaded_functions.items() if function.reload()]
        for key in changed:
            self.function_schemas.pop(key, None)
        return changed

    # -- about functions --

    def get_function_schema(
        self, function: LoadedFunction | Tool | Callable[..., Any] | str
    ) -> dict[str, Any]:
        """Return name, signature, docs, JSON Schema of parameters and result; told by a confined worker.

        Raises
        ------
        CallError
            It does not load.
        """
        tool = self._tool_of(function)
        found = self._descriptions.get(tool.key)
        if found is None:
            found = self._descriptions[tool.key] = describe(self.pool, tool)
        schema = found.to_dict()
        for key, loaded in self.loaded_functions.items():
            if loaded is function or loaded.tool == tool:
                self.function_schemas[key] = schema
        return schema

    def validate_function(self, function: LoadedFunction | Tool | Callable[..., Any] | str) -> bool:
        """Whether the function's module is accepted by the policy and loads, and the function is in it.

        The module is loaded to find out: confined, in a template of its own.
        """
        return self.explain_function(function) is None

    def explain_function(self, function: LoadedFunction | Tool | Callable[..., Any] | str) -> str | None:
        """Return why a function is not valid, None when it is."""
        try:
            self.get_function_schema(function)
        except CallError as error:
            return f"{error.status}: {error}"
        except SandboxError as error:
            return str(error)
        return None

    def _tool_of(self, function: Any) -> Tool:
        if isinstance(function, LoadedFunction):
            return function.current()
        if isinstance(function, Tool):
            return function
        from elf_pysandbox._tools.load import load

        return load(function, python_path=self._python_path)


def _stamp(tool: Tool) -> tuple[tuple[str, int, int], ...]:
    """What changes when one of the tool's files does, as far as the file system tells without reading."""
    stamps = []
    for path in (tool.context.path, *(sibling.path for sibling in tool.context.siblings)):
        try:
            status = os.stat(path)
        except OSError:
            continue
        stamps.append((path, status.st_mtime_ns, status.st_size))
    return tuple(stamps)
