"""Starts commands of radar by forking a process that has imported their modules.

Tests start hundreds of them, and the imports take longer than the rest of most tests.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import radar
from radar import early_signals
from radar.cli.main import main
from radar.local.forkserver import ONE_THREAD, PRELOADED

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*PRELOADED, __name__])


class Forked:
    """A forked process, used like a `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
        entered: Path = Path(os.devnull),
    ) -> None:
        """Start `radar ARGUMENTS` in the present folder with just these variables.

        Args:
            arguments: The command and its arguments.
            environment: All its variables.
            output: The file to which its output is appended.
            errors: The file to which its errors are appended, if that is another one.
            entered: The file that it reads as its standard input.
        """
        files = [entered.absolute(), output.absolute(), (errors or output).absolute()]
        self._process = _context.Process(
            target=_become, args=(arguments, environment, Path.cwd(), files), daemon=True
        )
        with patch.dict(os.environ, ONE_THREAD):
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path, files: Sequence[Path]
) -> None:
    """Make this copy what a new interpreter would be at the command's start."""
    os.chdir(directory)
    for descriptor, (path, mode) in enumerate(zip(files, ("rb", "ab", "ab"), strict=True)):
        with path.open(mode) as file:
            os.dup2(file.fileno(), descriptor)
    # Those of this process, which it had before, lead to nowhere.
    entered = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    vars(sys).update(stdin=entered, __stdin__=entered)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = [str(Path(radar.__file__).with_name("__main__.py")), *arguments]
    early_signals.leave_on_signals()
    main()
