"""How states look: a sign and a colour each, so that it reads without colours as well."""

from enum import Enum

from radar.status.model import Condition, Overview, ProcessState, Verdict


class Mark(Enum):
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


_OF_VERDICT: dict[Verdict, Mark] = {
    "stuck": Mark.STUCK,
    "unknown": Mark.UNKNOWN,
    "warns": Mark.PASSES,
    "passes": Mark.PASSES,
    "idle": Mark.IDLE,
    "flows": Mark.FLOWS,
}
_OF_SEVERITY = {
    "problem": Mark.STUCK,
    "unknown": Mark.UNKNOWN,
    "warning": Mark.PASSES,
    "passes": Mark.PASSES,
}
_OF_CONDITION: dict[Condition, Mark] = {
    "ready": Mark.FLOWS,
    "runs": Mark.FLOWS,
    "warns": Mark.PASSES,
    "not_ready": Mark.PASSES,
    "starting": Mark.PASSES,
    "stopped": Mark.IDLE,
    "down": Mark.STUCK,
}


def of_verdict(verdict: Verdict) -> Mark:
    """Return the state of the whole."""
    return _OF_VERDICT[verdict]


def of_stage(overview: Overview, stage: str, dataset: str | None = None) -> Mark:
    """Return the state of a stage, or of one dataset in it: that of its worst obstacle."""
    for each in overview.obstacles:  # the worst come first
        if each.stage == stage and (dataset is None or each.dataset in ("", dataset)):
            return _OF_SEVERITY[each.severity]
    return Mark.FLOWS


def of_process(process: ProcessState) -> Mark:
    """Return the state of a process."""
    return _OF_CONDITION[process.condition]
