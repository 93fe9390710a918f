"""Check the prose of the documents and of the docstrings: `python scripts/prose.py [FILE …]`.

Rules, each for one file:

- A sentence has at most 40 words.
- "what" outside questions: at most 2 per 1,000 words.
- "nobody", "nothing" and "whoever": at most 2 per 1,000 words.

A file of few words may have one of each. Code, tables, headings and generated pages are skipped.
The exit code is 1 if a file breaks a rule.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "QUICKSTART.md", "DEPLOYMENT.md", "CONTRIBUTING.md", "docs/**/*.md")
GENERATED = {
    "docs/chaos.md",
    "docs/configuration.md",
    "docs/data-dictionary.md",
    "docs/faults.md",
    "docs/metrics.md",
}
# The rules are about English.
PERSIAN = {"docs/fa.md"}
MAX_WORDS = 40
MAX_PER_THOUSAND = 2
RULES = {
    "what": re.compile(r"\bwhat\b(?! (?:to|if)\b)", re.IGNORECASE),
    "nobody, nothing, whoever": re.compile(r"\b(?:nobody|nothing|whoever)\b", re.IGNORECASE),
}

_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1[^\n]*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"(`+)[^`]+\1")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
# A new line that begins one of these begins a new paragraph as well.
_ITEM = re.compile(r" *(?:[-*] |\d+\. )| {4,}\w+: |[A-Z]\w+:$")
# Headings, tables, quotations, JSON, commands, and lines with aligned columns.
_SKIPPED = re.compile(r" *(?:#|\||>|[\[{]|\"\w+\":|\$ |\S.*\w {2,}\w)")
_END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*]*[A-Z0-9])")
_WORD = re.compile(r"\S*\w\S*")


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a document or docstring, without code, tables and headings.

    Inline code counts as one word.
    """
    text = _COMMENT.sub("", _FENCE.sub("", text))
    text = _LINK.sub(r"\1", _CODE.sub("Code", text))
    paragraph: list[str] = []
    for line in (*text.splitlines(), ""):
        starts_anew = not line.strip() or _SKIPPED.match(line) or _ITEM.match(line)
        if starts_anew and paragraph:
            yield from _END.split(" ".join(paragraph))
            paragraph = []
        if line.strip() and not _SKIPPED.match(line):
            paragraph.append(line.strip())


def docstrings(source: str) -> str:
    """Return all docstrings of a module, with a blank line between them."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(n) for n in ast.walk(ast.parse(source)) if isinstance(n, kinds))
    return "\n\n".join(text for text in found if text)


def problems(text: str) -> list[str]:
    """Return the broken rules of one text, one line for each."""
    said = list(sentences(text))
    lengths = [len(_WORD.findall(sentence)) for sentence in said]
    found = [
        f"{length} words in one sentence: {sentence[:60]}…"
        for sentence, length in zip(said, lengths, strict=True)
        if length > MAX_WORDS
    ]
    allowed = max(1, sum(lengths) * MAX_PER_THOUSAND // 1000)
    prose = " ".join(sentence for sentence in said if not sentence.rstrip("\"')*").endswith("?"))
    for name, pattern in RULES.items():
        if (count := len(pattern.findall(prose))) > allowed:
            found.append(f"{count} times {name} in {sum(lengths)} words; at most {allowed}")
    return found


def check(path: Path) -> list[str]:
    """Return the broken rules of a file: of its docstrings, if it is Python."""
    text = path.read_text(encoding="utf-8")
    return problems(docstrings(text) if path.suffix == ".py" else text)


def files(root: Path = ROOT) -> Iterator[str]:
    """Yield the names of all files that are checked, relative to the root."""
    pages = {path.relative_to(root).as_posix() for name in PAGES for path in root.glob(name)}
    modules = {path.relative_to(root).as_posix() for path in root.glob("src/**/*.py")}
    yield from sorted((pages - GENERATED - PERSIAN) | modules)


def main(arguments: list[str]) -> int:
    """Check the named files, or all of them."""
    parser = argparse.ArgumentParser(description="Check the prose of documents and docstrings.")
    parser.add_argument("files", nargs="*", type=Path, help="only these files")
    named = parser.parse_args(arguments).files or [ROOT / name for name in files()]
    found = {
        path.relative_to(ROOT) if path.is_relative_to(ROOT) else path: check(path) for path in named
    }
    lines = [f"{name}: {text}" for name, texts in sorted(found.items()) for text in texts]
    print("\n".join(lines) or "prose: no rule is broken")  # noqa: T201 - a command
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
