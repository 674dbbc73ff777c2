"""
Variants: reactors made to measure the effect of one change, not to run services. The
predictions (C{benchmarks/predictions.toml}) are about them.

With C{benchmarks} on C{PYTHONPATH} each is a reactor like any other, by
C{benchmarks/twisted/plugins/iodemo_variants.py}: C{twistd --reactor=epoll-trying},
C{iodemo compare --backends epoll,epoll-trying}.
"""
