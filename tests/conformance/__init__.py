"""
What every backend must do, each test stamped over all of them.

A test here names no backend. It is written once, as a class that
L{tests.conformance.stamping.stamped} turns into a class for each reactor of the
table of models: C{EchoTests} becomes C{EchoTests_select}, C{EchoTests_epoll} and
so on. One that cannot run here is skipped with its reason. Stock Twisted is the
specification: what its epoll reactor does not pass is not a test.

The reactor under test is never trial's own. It runs in a child process, either
as C{twistd --reactor=NAME} with one of our services, or with one of the small
programs in L{tests.conformance.programs}. The test is its blocking client.

To run everything, or one module, class or test::

    scripts/test tests.conformance
    scripts/test tests.conformance.test_closing.ResetTests_epoll

One or a few backends, also of another project, which need no row in the table
(the fastest way to judge a reactor that is being written)::

    IODEMO_BACKENDS=threads scripts/test tests.conformance

Until something fails, or N times::

    IODEMO_BACKENDS=threads scripts/test -u tests.conformance
    for n in $(seq 50); do
        IODEMO_BACKENDS=threads scripts/test tests.conformance || break
    done

What is random says its seed when it fails; C{IODEMO_SEED=SEED} does it again.
How much of everything there is stands in L{tests.conformance.sizes}.
"""
