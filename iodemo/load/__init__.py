"""
The client side, its own process: drivers, pacing, recording.
"""
