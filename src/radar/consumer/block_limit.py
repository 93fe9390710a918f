"""How large a block may be after a refusal as too large. Pure; the time is an argument."""

# After a refusal the worker tries a larger block again. The first wait is short, because most
# limits are short (memory that other queries took). Later waits grow, because some limits stay (a
# proxy's).
FIRST_WAIT_S = 15.0
LONGEST_WAIT_S = 600.0
GROWTH = 4


class BlockLimit:
    """The size that blocks are divided to; it grows with time until a block is refused again.

    Attributes:
        limit_bytes: Larger blocks are divided; None: every block is tried as it is.
    """

    def __init__(self) -> None:
        self.limit_bytes: int | None = None
        self._wait_s = FIRST_WAIT_S
        self._raised = False
        self._again_at_s = 0.0

    def refused(self, size_bytes: int, now_s: float) -> None:
        """Lower the limit after the refusal of a block of this size."""
        if self.limit_bytes is None and now_s > self._again_at_s + LONGEST_WAIT_S:
            self._wait_s = FIRST_WAIT_S
        elif self._raised:
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        self._raised = False
        self.limit_bytes = max(1, size_bytes // 2)
        self._again_at_s = now_s + self._wait_s

    def raise_if_due(self, largest_bytes: int, now_s: float) -> None:
        """Raise the limit if it is time to; there is none above the largest possible block."""
        if self.limit_bytes is None or now_s < self._again_at_s:
            return
        self._raised = True
        self._again_at_s = now_s + self._wait_s
        raised_bytes = GROWTH * self.limit_bytes
        self.limit_bytes = raised_bytes if raised_bytes < largest_bytes else None
