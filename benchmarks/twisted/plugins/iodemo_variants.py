"""
The variants, for C{twistd --reactor}. Declarations only.
"""

from twisted.application.reactors import Reactor

epollTrying = Reactor(
    "epoll-trying", "variants.epolltrying", "epoll, with sends tried at once."
)
uringReadiness = Reactor(
    "uring-readiness", "variants.uringreadiness", "io_uring that only polls."
)
uringByOperation = Reactor(
    "uring-by-operation", "variants.uringbyoperation", "io_uring, entered by each send."
)
uringCtypes = Reactor(
    "uring-ctypes", "variants.uringctypes", "io_uring, driven through ctypes."
)
