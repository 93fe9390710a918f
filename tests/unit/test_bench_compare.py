"""The comparison of two revisions: what counts as worse, and what the machine may have done."""

from benchmarks.compare import Name, compare, figures, noise, worse
from benchmarks.results import Section, Table

COLUMNS = ["", "messages/s", "messages/CPU-s", "runs"]
CAPTION = "**Trades, blocks of 500**"


def section(radar: float, engine: float) -> Section:
    rows = [
        ["radar", "90,000", f"{radar:,.0f}", "1"],
        ["Kafka engine", "80,000", f"{engine:,.0f}", "1"],
        ["Quix", "–", "–", "–"],
    ]
    ratios = Table(["", "to the engine"], [["trades", "1.2×"]])
    return Section("throughput", "", "", [ratios, Table(COLUMNS, rows, CAPTION)])


def rounds(
    *pairs: tuple[tuple[float, float], tuple[float, float]],
) -> list[tuple[dict[Name, float], dict[Name, float]]]:
    return [(figures(section(*before)), figures(section(*after))) for before, after in pairs]


def test_figures_are_read_from_the_tables_of_a_section() -> None:
    assert figures(section(180_000, 150_000)) == {
        Name("throughput", "radar; Trades, blocks of 500", "messages/CPU-s"): 180_000,
        Name("throughput", "Kafka engine; Trades, blocks of 500", "messages/CPU-s"): 150_000,
    }
    row = ["`radar up --simulate` to the first row", "2,900 (2,700)", "–", "5"]
    table = Table(["", "median ms (least)", "CPU ms (least)", "runs"], [row])
    assert list(figures(Section("startup", "", "", [table])).values()) == [2900]


def test_figure_that_is_worse_in_every_round_is_found() -> None:
    found = compare(rounds(((100, 50), (80, 50)), ((104, 50), (82, 51)), ((99, 51), (85, 51))))
    assert [each.name.row[:5] for each in worse(found, 0.1)] == ["radar"]
    assert worse(found, 0.3) == []


def test_figure_that_was_better_once_is_not_worse() -> None:
    found = compare(rounds(((100, 50), (80, 50)), ((90, 50), (91, 50)), ((99, 50), (80, 50))))
    assert worse(found, 0.1) == []


def test_what_others_lost_as_well_is_the_machines() -> None:
    found = compare(rounds(((100, 50), (80, 40)), ((104, 50), (82, 39)), ((99, 51), (78, 40))))
    assert noise(found, "throughput") > 0.15
    assert worse(found, 0.1) == []


def test_shorter_times_are_better() -> None:
    def start(ms: str) -> dict[Name, float]:
        return figures(
            Section("startup", "", "", [Table(["", "median ms (least)"], [["radar consume", ms]])])
        )

    (change,) = compare([(start("400 (390)"), start("200 (190)"))])
    assert change.better == 2
    (change,) = compare([(start("200 (190)"), start("400 (390)"))])
    assert worse([change], 0.1) == [change]


def test_figure_that_one_revision_lacks_is_left_out() -> None:
    before, after = rounds(((100, 50), (100, 50)))[0]
    del after[next(iter(after))]
    assert len(compare([(before, after)])) == 1
