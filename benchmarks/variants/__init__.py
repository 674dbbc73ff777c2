"""
Variants: reactors that nobody should use, made to measure what one change is worth. The
predictions (C{benchmarks/predictions.toml}) are about them.

With C{benchmarks} on C{PYTHONPATH} each is a reactor like any other, by
C{benchmarks/twisted/plugins/iodemo_variants.py}: C{twistd --reactor=epoll-trying},
C{iodemo compare --backends epoll,epoll-trying}.
"""
