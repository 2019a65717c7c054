"""Owns the waits between the attempts to start a worker that keeps ending; pure arithmetic."""

import random
from dataclasses import dataclass, field

FIRST_S = 0.5
LONGEST_S = 30.0
HEALTHY_AFTER_S = 5.0


@dataclass
class Backoff:
    """Waits for one worker index: none after a long life, then twice as long each time.

    Attributes:
        failures: short lives in a row.
    """

    failures: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def ended(self, ready_for_s: float) -> float:
        """Take note of a worker's unwanted end; returns the seconds to wait before the next.

        Args:
            ready_for_s: how long it served; 0 if it never did.
        """
        if ready_for_s >= HEALTHY_AFTER_S:
            self.failures = 0
        self.failures += 1
        if self.failures == 1 and ready_for_s > 0:
            return 0.0
        wait_s = min(FIRST_S * 2.0 ** min(self.failures - 1, 10), LONGEST_S)
        # Spread, so that workers which died together do not start together for ever.
        return wait_s * self._random.uniform(0.8, 1.0)
