"""
Supervision: how processes are started, pinned, guarded and ended.
"""
