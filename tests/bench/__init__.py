"""The benchmark anyone can run (``make bench``): ratios of CPU time, each beside its goal.

A part is a module with a ``TITLE``, ``NOTES`` and ``figures(run)``, listed in ``report.py``.
"""
