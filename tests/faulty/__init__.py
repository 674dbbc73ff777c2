"""
A twistd plugin that fails in a chosen way, which the load has to detect.
"""
