"""How fast and how lean one index task is, measured against what else could do its work: ``python -m tests.benchmarks``.

Every contestant is a process of its own and does the same: bring changed rows of about 500 bytes from a table into another
one that has its indexes already, or into the index of a search engine. They run in turn, on one server with one set of
settings, three times each; the figures are made of the medians.
"""
