"""The parts of ``TargetConformance``, by idea."""
