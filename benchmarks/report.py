"""Writes the measured sections down: tables in Markdown, plots in SVG."""

from pathlib import Path

from benchmarks.results import Plot, Section, Table

HEAD = """# Benchmarks

    make bench         # everything
    make bench-quick   # throughput and start-up, less of it
    make bench-compare BASE=v1.2.0   # how the speed differs from another revision

The first command measures again and writes this page. A table compares contenders that ran in turns
within one run (A B C A B C …) on one machine; it shows the medians. Other work shared the
machine, so trust ratios within a table more than absolute figures. CPU time is user and system
time of the worker and the database, without the broker.
"""
FINDINGS = Path(__file__).with_name("findings.md")  # tables that sum the figures up


def write(sections: list[Section], path: Path) -> None:
    """Write the page and its plots."""
    parts = [HEAD, FINDINGS.read_text()]
    for section in sections:
        parts += [f"## {section.title}", section.text]
        for number, plot in enumerate(section.plots, start=1):
            picture = path.with_name(f"{path.stem}-{section.name}-{number}.svg")
            _draw(plot, picture)
            parts.append(f"![{plot.title}]({picture.name})")
        parts += [_table(table) for table in section.tables]
        machine = "; ".join(f"{name} {value}" for name, value in section.machine.items())
        parts.append(
            f"| command | machine |\n| --- | --- |\n"
            f"| `python -m benchmarks {section.name}` | {machine} |"
        )
    path.write_text("\n\n".join(part.strip() for part in parts) + "\n")


def text(section: Section) -> str:
    """Return the tables for a terminal."""
    return "\n\n".join([section.title, *(_table(table) for table in section.tables)])


def _table(table: Table) -> str:
    rows = [table.columns, ["---"] + ["---:"] * (len(table.columns) - 1), *table.rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table.caption}\n\n{lines}".strip()


def _draw(plot: Plot, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "radar"
    from matplotlib import pyplot

    groups = list(dict.fromkeys(bar.group for bar in plot.bars))
    labels = list(dict.fromkeys(bar.label for bar in plot.bars))
    colours = pyplot.get_cmap("tab10")
    figure, axes = pyplot.subplots(figsize=(9, 0.9 + 0.26 * (len(plot.bars) + len(groups))))
    at = 0.0
    ticks = []
    for group in groups:
        bars = [bar for bar in plot.bars if bar.group == group]
        ticks.append(at + (len(bars) - 1) / 2)
        for bar in bars:
            drawn = axes.barh(at, bar.value, color=colours(labels.index(bar.label) % 10))
            axes.bar_label(drawn, [f" {bar.label}: {bar.value:,.0f}"], fontsize=8)
            at += 1
        for limit in plot.limits:
            if limit.group == group:
                axes.vlines(limit.value, at - len(bars) - 0.5, at - 0.5, color="black")
                top = at - len(bars) - 0.55
                axes.text(limit.value, top, limit.label, fontsize=8, va="bottom", ha="center")
        at += 1.2 if plot.limits else 0.7
    axes.set_yticks(ticks, groups)
    axes.set_ylim(at - 1, -1.4 if plot.limits else -0.7)
    axes.set_xlim(
        right=max([bar.value for bar in plot.bars] + [limit.value for limit in plot.limits]) * 1.45
    )
    axes.set_xlabel(plot.unit)
    axes.set_title(plot.title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
