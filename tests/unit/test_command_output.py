"""What commands print of what others wrote."""

import json
import shlex
import subprocess
import sys

import pytest

from radar.cli import dlq, main
from radar.cli.arguments import say, say_json
from radar.errors import RadarError

HOSTILE = "\x1b]0;PWNED\x07\x9b2J\u202eevil\x7f\nforged: line\u2028"
SHOWN = r"\x1b]0;PWNED\x07\x9b2J\u202eevil\x7f\x0aforged: line\u2028"


def test_line_stays_one_line_and_does_nothing_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say(HOSTILE, "[/boom] $(touch pwn)", "x" * 1_000_000)
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, second) == (SHOWN, "[/boom] $(touch pwn)")
    assert len(third) == 10_000


def test_facts_for_machines_are_whole_and_safe_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({HOSTILE: [HOSTILE]}, error=HOSTILE)
    written = capsys.readouterr().out
    assert all(" " <= each <= "~" or each == "\n" for each in written)
    assert json.loads(written) == {"version": 1, "error": HOSTILE, HOSTILE: [HOSTILE]}


def test_error_is_one_printable_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*, standalone_mode: bool) -> None:
        assert not standalone_mode
        raise RadarError(HOSTILE)

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr("radar.process.follow_supervisor", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"radar: {SHOWN}\n"


@pytest.mark.parametrize(
    "name",
    [
        "radar_trades$(touch pwn):0:7",
        "a b:0:1",
        "`x`:0:1",
        "a;b",
        "a'b",
        "-rf:0:1\n",
        HOSTILE,
        "!!",
    ],
)
def test_name_of_a_letter_is_one_word_for_a_shell(name: str) -> None:
    word = dlq._word(name)
    assert len(shlex.split(word)) == 1
    done = subprocess.run(
        ["/bin/sh", "-c", f'{sys.executable} -c "import sys; print(len(sys.argv))" {word}'],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("2\n", "")
    assert dlq._word("radar_trades:0:7") == "radar_trades:0:7"
