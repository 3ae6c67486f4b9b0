"""Calling the user's `package.module:function` that returns the data."""

from __future__ import annotations

import contextlib
import importlib
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeprune.errors import InputError, nearest


def call_function(spec: str, search_path: Path | None) -> Any:
    """Import `package.module`, call `function()` without arguments and return what it returns.

    search_path: a folder that is searched for the module first (the project's folder).

    Raises:
        InputError: there is no such module or function, or the user's code failed; then the message quotes the
            exception and the user's file and line.
    """
    module_name, _, function_name = spec.partition(":")
    if module_name.endswith(".py") or "/" in module_name or not function_name:
        name = module_name.removesuffix(".py").replace("/", ".").strip(".")
        raise InputError(
            f'"{spec}" is not of the form package.module:function; write "{name}:{function_name or "function"}" '
            "and put the file beside the project file"
        )
    with _importable(search_path):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not (module_name + ".").startswith(error.name + "."):
                raise _failure(spec, "importing it", error) from error
            places = f"{search_path} and the Python path" if search_path else "the Python path"
            raise InputError(
                f'"{spec}": there is no module "{error.name}" in {places}; check the name, or run from its folder'
            ) from error
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise _failure(spec, "importing it", error) from error
        function = getattr(module, function_name, None)
        if not callable(function):
            names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            raise InputError(
                f'"{spec}": {module_name} has no function "{function_name}"; {nearest(function_name, names)}'
            )
        try:
            return function()
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise _failure(spec, "calling it", error) from error


@contextlib.contextmanager
def _importable(search_path: Path | None) -> Iterator[None]:
    if search_path is None:
        yield
        return
    entry = str(search_path.resolve())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)


def _failure(spec: str, doing: str, error: BaseException) -> InputError:
    message = " ".join(str(error).split())
    return InputError(f'"{spec}": {doing} failed: {type(error).__name__}: {message}{_place(error)}; fix the function')


def _place(error: BaseException) -> str:
    """` (file:line)` of the innermost frame outside Python and installed packages: the user's own line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    installed = (__file__, "<", sysconfig.get_path("stdlib"))
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith(installed) and "-packages" not in Path(frame.filename).parent.as_posix()
    ]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
