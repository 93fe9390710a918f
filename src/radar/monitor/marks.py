"""How states look: a sign and a colour each, so that it reads without colours as well."""

from enum import Enum

from radar.observe.overview import Bottleneck, Overview, ProcessState


class Mark(Enum):
    """A state; its sign and its style. Colours are the terminal's own, light or dark."""

    FLOWS = ("●", "green")
    PASSES = ("▲", "yellow")
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


def of_obstacles(obstacles: list[Bottleneck]) -> Mark:
    """Return the state of a place with these obstacles."""
    if not obstacles:
        return Mark.FLOWS
    return Mark.PASSES if all(each.passes for each in obstacles) else Mark.STUCK


def of_stage(overview: Overview, stage: str, kind: str | None = None) -> Mark:
    """Return the state of a stage, or of one kind in it."""
    return of_obstacles(
        [
            each
            for each in overview.obstacles
            if each.stage == stage and (kind is None or each.kind in ("", kind))
        ]
    )


def of_process(process: ProcessState) -> Mark:
    """Return the state of a process."""
    if process.ready:
        return Mark.FLOWS
    if process.state == "stopped":
        return Mark.IDLE
    passes = process.alive or process.state in ("starting", "restarting")
    return Mark.PASSES if passes or process.reasons == ["is starting"] else Mark.STUCK
