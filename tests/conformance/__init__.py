"""
Tests of the behaviour that all backends have in common, run under each of them.

A test here names no backend. It is written once, as a class that
L{tests.conformance.stamping.stamped} turns into a class for each reactor in the table
of models: C{EchoTests} becomes C{EchoTests_select}, C{EchoTests_epoll} and so on. A
backend that cannot run here is skipped with its reason. Stock Twisted is the
specification: a test that its epoll reactor does not pass is no test.

The reactor under test is never trial's own. It runs in a child process: either as
C{twistd --reactor=NAME} with one of the services, or with one of the small programs in
L{tests.conformance.programs}. The test is its blocking client.

Glossary:

  - I{stamped}: made from one test class, for one backend
    (L{tests.conformance.stamping}).
  - I{host}: the child process of a program, as the test sees it
    (L{tests.conformance.hosting.Host}).
  - I{event}: a fact that a program reports to the test, by C{tell}.
  - I{permit}: the test makes a file in the program's working directory, for which the
    program waits before it continues.
  - I{owner}: any object that a reactor calls: a protocol, a reader, a delayed call.

To run everything, or one module, class or test::

    scripts/test tests.conformance
    scripts/test tests.conformance.test_closing.ResetTests_epoll

To test one backend or a few, also from another project without a row in the table (the
fastest way to test a reactor while it is written)::

    IODEMO_BACKENDS=threads scripts/test tests.conformance

To repeat until something fails, or a number of times::

    IODEMO_BACKENDS=threads scripts/test -u tests.conformance
    for n in $(seq 50); do
        IODEMO_BACKENDS=threads scripts/test tests.conformance || break
    done

If a test with random data fails, its seed is printed; C{IODEMO_SEED=SEED} repeats it.
The numbers of connections, bytes and calls are in L{tests.conformance.sizes}.
"""
