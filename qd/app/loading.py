"""`--app module[:attribute]` -> the App that user code built."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from importlib.machinery import ModuleSpec, SourceFileLoader
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
    module_name, attribute = _split(reference)
    _make_current_folder_importable()
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


def check_module_exists(reference: str) -> None:
    """
    Look for the module without importing anything, for the process that must not run user code.

    Raises:
        AppLoadError: There is none (exit code 2). Whether it has an App is not known then.
    """
    module_name, _ = _split(reference)
    _make_current_folder_importable()
    found = importlib.util.find_spec(module_name.partition(".")[0])
    path = module_name.split(".")[1:]
    while found is not None and path and _is_folder(found):
        folders = found.submodule_search_locations or ()
        importers = [one for folder in folders if (one := pkgutil.get_importer(folder))]
        name = f"{found.name}.{path.pop(0)}"
        specs = [spec for one in importers if (spec := one.find_spec(name))]
        found = next((spec for spec in specs if spec.loader), specs[0] if specs else None)
    if found is None:
        raise _missing(module_name, f"No module named {module_name!r}")


def _is_folder(found: ModuleSpec) -> bool:
    """True if what is inside of a package can be known without its code, and without importing."""
    # A namespace has no loader; one inside of another may have parts elsewhere.
    namespace = found.loader is None and "." not in found.name
    return namespace or isinstance(found.loader, SourceFileLoader)


def _split(reference: str) -> tuple[str, str]:
    module_name, _, attribute = reference.partition(":")
    if not module_name:
        raise AppLoadError("no application named", hint="Use --app mypackage.tasks")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise AppLoadError(
            f"{module_name!r} is no module name",
            hint="Write it as an import statement does: mypackage.tasks, or mypackage.tasks:app.",
        )
    return module_name, attribute


def _make_current_folder_importable() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _missing(module_name: str, why: object) -> AppLoadError:
    return AppLoadError(
        f"there is no module {module_name!r} ({why})",
        hint="Run from the folder that holds it, or install its package.",
    )


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
            raise _missing(name, error) from error
        raise _raised(name, error) from error
    except (Exception, SystemExit) as error:
        raise _raised(name, error) from error


def _raised(name: str, error: BaseException) -> AppLoadError:
    trace = error.__traceback__
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    error.__traceback__ = trace
    where = "".join(traceback.format_tb(trace)).rstrip()
    what = "".join(traceback.format_exception_only(error)).strip()
    return AppLoadError(
        f"importing {name} raised {what}\n{where}" if where else f"importing {name} raised {what}",
        exit_code=ExitCode.FAILED,
    )


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or "importlib" in filename
