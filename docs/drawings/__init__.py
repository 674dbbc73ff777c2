"""
The drawings of the book that show no measurement. Each is a function that returns a
matplotlib figure, in the module of its chapter, and has a name in C{DRAWINGS} there.

C{python -m drawings DIRECTORY}, in C{docs/}, draws all of them. L{drawings.shapes} has
their common elements.
"""
