"""
The drawings of the book that show no measurement: each a function that returns a
matplotlib figure, in a module for its chapter, under a name in C{DRAWINGS}.

C{python -m drawings DIRECTORY}, in C{docs/}, draws all of them. L{drawings.shapes} is
what they are made of, so that they look alike.
"""
