"""
What is run, how, and what it says: scenarios, the runner, results, statistics.
"""
