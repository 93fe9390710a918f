"""The page of faults says what the tests prove."""

from fault_table import TESTS, faults, table


def test_page_of_faults_equals_the_marks_of_the_tests() -> None:
    assert (TESTS.parent / "docs" / "faults.md").read_text() == table()


def test_each_fault_has_a_report_a_place_and_a_delay_that_its_test_uses() -> None:
    for each in faults():
        assert all(each[:3])
        assert each.within_s > 0
        path, _, name = each.test.partition("::")
        body = (TESTS.parent / path).read_text().partition(f"def {name}(")[2]
        assert "within_s" in body.partition("\ndef ")[0], each.test
