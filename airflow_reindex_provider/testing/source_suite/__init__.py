"""The parts of ``SourceConformance``, by idea."""
