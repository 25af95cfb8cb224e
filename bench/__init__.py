"""Sampan beside its peers, in the same run on the same machine: ``make bench`` prints figures and ratios.

One file a subject, each with ``def rows() -> Iterator[Row]``; ``__main__`` runs all of them or those named. Figures
depend on the machine; the ratio of one run is what counts, and no test asserts either.
"""
