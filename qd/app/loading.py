"""`--app module[:attribute]` -> the App that user code built."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from qd.app.app import App
from qd.errors import AppLoadError, ExitCode
from qd.suggest import did_you_mean


def load_app(reference: str) -> App:
    """
    Import the module and return its App: the attribute named, or the only App there is.

    The current folder is importable, as it is for `python -m`.

    Raises:
        AppLoadError: The module is missing or has no App (exit code 2), or it raised (exit code 1);
            then the message ends with the traceback of the user's own code.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name:
        raise AppLoadError("no application named", hint="Use --app mypackage.tasks")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _import(module_name)
    if attribute:
        found = getattr(module, attribute, None)
        if found is None:
            raise AppLoadError(
                f"module {module_name} has no attribute {attribute!r}."
                f"{did_you_mean(attribute, [name for name in vars(module) if name[0] != '_'])}"
            )
        if not isinstance(found, App):
            raise AppLoadError(f"{reference} is {type(found).__name__}, not a qd.App")
        return found
    return _only_app(module, module_name)


def _only_app(module: ModuleType, module_name: str) -> App:
    apps = {name: value for name, value in vars(module).items() if isinstance(value, App)}
    if len({id(app) for app in apps.values()}) == 1:
        return next(iter(apps.values()))
    if not apps:
        raise AppLoadError(
            f"module {module_name} has no qd.App",
            hint='Create one at module level: app = qd.App("name")',
        )
    raise AppLoadError(
        f"module {module_name} has several apps: {', '.join(sorted(apps))}",
        hint=f"Name one: --app {module_name}:{sorted(apps)[0]}",
    )


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise AppLoadError(
                f"there is no module {name!r} ({error})",
                hint="Run from the folder that holds it, or install its package.",
            ) from error
        raise _raised(name, error) from error
    except (Exception, SystemExit) as error:
        raise _raised(name, error) from error


def _raised(name: str, error: BaseException) -> AppLoadError:
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if "importlib" not in frame.filename and Path(frame.filename).name != "loading.py"
    ]
    where = "".join(traceback.format_list(own)).rstrip()
    what = "".join(traceback.format_exception_only(error)).strip()
    return AppLoadError(
        f"importing {name} raised {what}\n{where}" if where else f"importing {name} raised {what}",
        exit_code=ExitCode.FAILED,
    )
