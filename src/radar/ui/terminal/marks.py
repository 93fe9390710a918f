"""The look of states: a sign and a colour each, so that it is readable without colours as well."""

from enum import Enum

from radar.status.model import Condition, Overview, ProcessState, Verdict


class StatusMark(Enum):
    """A state; its sign and its style. Colours are the terminal's own, light or dark."""

    FLOWS = ("●", "green")
    PASSES = ("▲", "yellow")
    UNKNOWN = ("?", "bold yellow")
    STUCK = ("✖", "bold red")
    IDLE = ("○", "dim")

    @property
    def sign(self) -> str:
        """One character."""
        return self.value[0]

    @property
    def style(self) -> str:
        """Style of text."""
        return self.value[1]


_OF_VERDICT: dict[Verdict, StatusMark] = {
    "stuck": StatusMark.STUCK,
    "unknown": StatusMark.UNKNOWN,
    "warns": StatusMark.PASSES,
    "passes": StatusMark.PASSES,
    "idle": StatusMark.IDLE,
    "flows": StatusMark.FLOWS,
}
_OF_SEVERITY = {
    "problem": StatusMark.STUCK,
    "unknown": StatusMark.UNKNOWN,
    "warning": StatusMark.PASSES,
    "passes": StatusMark.PASSES,
}
_OF_CONDITION: dict[Condition, StatusMark] = {
    "ready": StatusMark.FLOWS,
    "runs": StatusMark.FLOWS,
    "warns": StatusMark.PASSES,
    "not_ready": StatusMark.PASSES,
    "starting": StatusMark.PASSES,
    "stopped": StatusMark.IDLE,
    "down": StatusMark.STUCK,
}


def of_verdict(verdict: Verdict) -> StatusMark:
    """Return the state of the whole."""
    return _OF_VERDICT[verdict]


def of_stage(overview: Overview, stage: str, dataset: str | None = None) -> StatusMark:
    """Return the state of a stage, or of one dataset in it: that of its worst obstacle."""
    for each in overview.obstacles:  # the worst come first
        if each.stage == stage and (dataset is None or each.dataset in ("", dataset)):
            return _OF_SEVERITY[each.severity]
    return StatusMark.FLOWS


def of_process(process: ProcessState) -> StatusMark:
    """Return the state of a process."""
    return _OF_CONDITION[process.condition]
