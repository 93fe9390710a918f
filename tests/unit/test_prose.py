"""`scripts/prose.py` finds bad prose, and only that."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "prose.py"
_spec = importlib.util.spec_from_file_location("prose", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
prose = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(prose)

LONG = "The worker reads " + "one more message and " * 10 + "then commits."
CLEAN = "The worker inserts a block. It commits the offset.\n"


def test_clean_text_has_no_problem() -> None:
    assert prose.problems(CLEAN * 50) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LONG, "words in one sentence"),
        ("# Title\n\n- A short item.\n- " + LONG, "words in one sentence"),
        (LONG.replace("and one", "and\none"), "words in one sentence"),
        ("It stores what comes. It keeps what is left.", "2 times what"),
        ("Nobody waits. Whoever waits gets nothing.", "3 times nobody, nothing, whoever"),
    ],
)
def test_bad_prose_is_found(text: str, problem: str) -> None:
    assert len(found := prose.problems(text)) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    "text",
    [
        f"```sh\n{LONG}\n```",
        f"| {LONG} |",
        f"Run `{LONG}` first.",
        "# " + LONG,
        "\n".join(f"    Error{n}    retry with a longer wait" for n in range(20)),
        "What does it store? What does it keep? What does it drop?",
        "Look up [the page](https://example.org/" + "a/" * 50 + "what).",
        LONG.replace(" and ", ". ").replace("one", "One"),
        "\n".join("- One item has few words" for _ in range(20)),
    ],
)
def test_code_tables_headings_questions_and_lists_are_no_bad_prose(text: str) -> None:
    assert prose.problems(text) == []


def test_allowed_count_grows_with_the_text() -> None:
    text = CLEAN * 100 + "It stores what comes. "  # 900 words and four more
    assert prose.problems(text) == []
    assert prose.problems(text * 2) == []
    assert prose.problems(text + "It keeps what is left.") == [
        "2 times what in 909 words; at most 1"
    ]


def test_docstrings_of_a_module_are_prose_and_its_code_is_not(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(f'x = "{LONG}"  # {LONG}\n')
    assert prose.check(module) == []
    module.write_text(f'def f():\n    """Short.\n\n    {LONG}\n    """\n')
    assert "words in one sentence" in prose.check(module)[0]


def test_arguments_in_a_docstring_are_sentences_of_their_own() -> None:
    entries = "".join(f"    name{n}: One more short line without an end\n" for n in range(9))
    assert prose.problems(f"Do it.\n\nArgs:\n{entries}") == []


def test_command_fails_for_a_bad_file_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(LONG)
    assert prose.main([str(page)]) == 1
    assert capsys.readouterr().out.startswith(f"{page}: ")
    page.write_text(CLEAN)
    assert prose.main([str(page)]) == 0


def test_every_page_and_module_is_checked() -> None:
    names = set(prose.files())
    assert {"README.md", "docs/design.md", "src/radar/consumer/worker.py"} <= names
    assert any(name.startswith("docs/decisions/") for name in names)


def test_every_page_and_module_obeys_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert prose.main([]) == 0, capsys.readouterr().out
