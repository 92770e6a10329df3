"""From records to numbers, and to what people read.

``summary.py`` computes all numbers. ``findings.py`` says them in sentences, ``tables.py`` on a
terminal, ``markdown.py`` in a document, ``plots.py`` in curves, ``report.py`` in a page of HTML;
``formats.py`` writes a number the same way in all of them.
"""
