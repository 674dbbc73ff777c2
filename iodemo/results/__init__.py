"""
The numbers: what a run found, its file, and how its numbers are compared.
"""
