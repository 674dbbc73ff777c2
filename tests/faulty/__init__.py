"""
A twistd plugin that fails in one chosen way, to be caught at it.
"""
