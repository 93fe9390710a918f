"""The command for an SQL prompt: `radar shell`."""

from radar.cli.arguments import Write, settings_for


def shell(*, write: Write = False) -> None:
    r"""Open an SQL prompt with completion and history.

    Reads only, unless --write is given. End a statement with a semicolon; it may take several
    lines. Like `radar query`, it opens the embedded data while radar is stopped. Leave with \q or
    Ctrl-D.
    """
    from radar.reading.shell import run

    run(settings_for("shell"), write=write)
