"""Owns what a result has to reach: which figure, against which peer, and how far."""

from dataclasses import dataclass
from enum import Enum

OURS = "switchboard"


class Measure(Enum):
    """A figure of a run, by its name in a table; `{unit}` and `{units}` are what is counted."""

    COST = "CPU us/{unit}"
    RATE = "{units}/s"
    MEMORY = "KB/{unit}"
    P99 = "p99 ms"


@dataclass(frozen=True, slots=True)
class Target:
    """One line of verdict: our figure over a peer's, less a peer's, or by itself.

    Attributes:
        peer: the case it is compared with; None for our own figure.
        at_most, at_least: the bound; without either it is for information.
        measure: which figure.
        is_difference: compare by difference, not by ratio.
        case: the case of ours.
    """

    peer: str | None
    at_most: float | None = None
    at_least: float | None = None
    measure: Measure = Measure.COST
    is_difference: bool = False
    case: str = OURS

    @property
    def title(self) -> str:
        """What is compared with what."""
        if self.peer is None:
            return self.case
        return f"{self.case} {'-' if self.is_difference else '/'} {self.peer}"

    @property
    def bound(self) -> str:
        """The bound as text."""
        if self.at_most is not None:
            return f"<= {self.at_most:.2f}"
        return "-" if self.at_least is None else f">= {self.at_least:.2f}"

    @property
    def has_bound(self) -> bool:
        """Whether there is anything to reach."""
        return self.at_most is not None or self.at_least is not None

    def value(self, ours: float, peer: float | None) -> float:
        """Compare two figures of one round."""
        if peer is None:
            return ours
        return ours - peer if self.is_difference else ours / peer

    def is_met(self, value: float) -> bool:
        """Whether a value is within the bound."""
        if self.at_most is not None and value > self.at_most:
            return False
        return self.at_least is None or value >= self.at_least
