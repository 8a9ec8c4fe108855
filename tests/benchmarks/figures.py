"""The figures: what was measured, what it is compared with, and the limit it must keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """``ratio`` is what the limit is about; ``unit`` is that of ``ours`` and ``reference``.

    :param at_least: the limit is the least ratio that is good enough; otherwise the greatest.
    """

    name: str
    ours: float
    reference: float
    ratio: float
    unit: str
    limit: float
    at_least: bool

    @classmethod
    def compared(
        cls, name: str, ours: float, reference: float, unit: str, *, at_least: float | None = None, at_most: float = 0.0
    ) -> Figure:
        """Ours divided by the reference."""
        least = at_least is not None
        return cls(name, ours, reference, ours / reference, unit, at_least if at_least is not None else at_most, least)

    @classmethod
    def alone(cls, name: str, ours: float, unit: str, *, at_most: float) -> Figure:
        """A figure that has no rival: the reference is the limit, and the ratio the figure itself."""
        return cls(name, ours, at_most, ours, unit, at_most, at_least=False)

    @property
    def kept(self) -> bool:
        return self.ratio >= self.limit if self.at_least else self.ratio <= self.limit

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ours": round(self.ours, 3),
            "reference": round(self.reference, 3),
            "ratio": round(self.ratio, 4),
        }

    def __str__(self) -> str:
        bound = f"{'>=' if self.at_least else '<='} {self.limit:g}"
        return (
            f"{self.name:<26}{self.ours:>12,.1f}{self.reference:>12,.1f} {self.unit:<9}{self.ratio:>8.3f}"
            f"   {bound:<8}{'pass' if self.kept else 'FAIL'}"
        )


HEADER = f"{'figure':<26}{'ours':>12}{'reference':>12} {'':<9}{'ratio':>8}   limit"
