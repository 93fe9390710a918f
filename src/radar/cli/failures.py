"""How a command reports a failure: one line, one exit code, and one JSON value with --json.

    0  fine
    1  a problem: an object is missing, stuck or refused, or a service does not answer
    2  wrong usage or configuration: the operator can correct the call
    3  `radar reconcile`: some time cannot be verified

Commands raise a `RadarError` or `typer.Exit`; none of them writes an error itself.
"""

import re
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import typer

from radar.cli.arguments import say_json
from radar.errors import ConfigurationError, RadarError
from radar.text import printable

MAX_ERROR_CHARACTERS = 2000
WRONG_USAGE = 2

# The modules that an extra of the package installs (`[project.optional-dependencies]`).
_EXTRAS = {
    "local": (
        *("apprise", "chdb", "httptools", "noida_db", "python_multipart", "setproctitle"),
        *("starlette", "uvicorn"),
    ),
    "dashboard": ("httptools", "starlette", "uvicorn"),
    "alerts": ("apprise",),
    "terminal": ("prompt_toolkit", "pygments", "textual"),
    "notebook": ("pandas", "polars", "pyarrow"),
    "s3": ("boto3",),
}

# The parser's errors: a base class of the one that typer offers.
_UsageError: type = typer.BadParameter.__mro__[1]

# Another library checks numbers, and the parser passes on its words.
_PLAIN = (
    (r"Input should be a valid integer.*", "it must be a whole number"),
    (r"Input should be a valid number.*", "it must be a number"),
    (r"Input should be greater than or equal to (\S+)", r"it must be at least \1"),
    (r"Input should be less than or equal to (\S+)", r"it must be at most \1"),
    (r"does not match the formats '%Y-%m-%d'", "is no day: write it as 2026-07-01"),
    (r"Value error, ", ""),
    (r"Input should be ", "it must be "),
)


def run(action: Callable[..., object], arguments: Sequence[str]) -> int:
    """Run a command line application and return the exit code.

    Args:
        action: The application; takes `standalone_mode=False`.
        arguments: The arguments behind the program's name.
    """
    as_json = "--json" in arguments
    try:
        code = action(standalone_mode=False)
    except RadarError as error:
        return _report(str(error), error.exit_code, as_json=as_json)
    except ModuleNotFoundError as error:
        missing = _missing_extra(error)
        if missing is None:
            raise
        return _report(str(missing), missing.exit_code, as_json=as_json)
    except typer.Abort:
        return _report("no change was made", 1, as_json=as_json)
    except BrokenPipeError:
        # The reader of our output has closed the pipe (`radar query … | head`).
        sys.stderr.close()
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _report(f"{where}{error.strerror or error}", 1, as_json=as_json)
    except Exception as error:
        if not isinstance(error, _UsageError):
            raise
        return _report_usage(error, as_json=as_json)
    return code if isinstance(code, int) else 0


def need_extra(extra: str) -> None:
    """Return if an extra is installed. For commands whose child processes import its modules.

    Raises:
        ConfigurationError: A module of the extra is missing.
    """
    for name in _EXTRAS[extra]:
        if not _is_installed(name):
            raise _extra_error(name, extra)


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a test has put None or a module without a specification in its place
        return False


def _missing_extra(error: ModuleNotFoundError) -> ConfigurationError | None:
    """Return the error that names the extra of a missing module; None if no extra has it."""
    name = (error.name or "").partition(".")[0]
    # The first extra is `local`, which holds the dashboard's modules as well.
    for extra, modules in reversed(_EXTRAS.items()):
        if name in modules:
            return _extra_error(name, extra)
    return None


def _extra_error(name: str, extra: str) -> ConfigurationError:
    return ConfigurationError(
        f'{name} is not installed: in radar\'s folder, run pip install ".[{extra}]"'
    )


def _report_usage(error: Exception, *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        # `radar` alone requests help, and is no command.
        typer.echo(str(getattr(error, "message", error)), err=True)
        return WRONG_USAGE
    words = str(error.format_message()).strip()  # type: ignore[attr-defined]
    words = " ".join(words.split()).rstrip(".")
    for pattern, plain in _PLAIN:
        words = re.sub(pattern, plain, words)
    command = context.command_path if context is not None else "radar"
    return _report(f"{words}: see `{command} --help`", WRONG_USAGE, as_json=as_json)


def _report(words: str, code: int, *, as_json: bool) -> int:
    line = printable(words, MAX_ERROR_CHARACTERS)
    if as_json:
        say_json({}, error=line)
    print(f"radar: {line}", file=sys.stderr)  # noqa: T201
    return code
