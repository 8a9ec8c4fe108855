"""When a rebuild of groups serves its new generations, in the words of its trigger form."""

from __future__ import annotations

PER_GROUP = "per_group"
ALL = "all"
WAIT = "wait"
"""Until a person has approved; of a stream without groups, too."""
