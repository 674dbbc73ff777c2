"""
The tests, for trial.
"""
