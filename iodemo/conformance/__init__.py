"""
Any reactor run against Twisted's own reactor tests, with Twisted's epoll reactor as the
control in the same environment.

Twisted has one set of reactor tests, as C{ReactorBuilder} classes, and makes from them
a test case for each reactor in a list. Here that list has one entry: the reactor to be
judged. A test that it fails and the control passes is about the reactor. A test that
both fail is about the machine, or the user's privileges.

Glossary:

  - I{subject}: the reactor to be judged.
  - I{control}: the reactor whose outcomes it is compared with.
  - I{stamped}: made from a C{ReactorBuilder} class, for one reactor.
  - I{outcome}: how one test ended: passed, failed, errored or skipped.
  - I{exception}: a test that a reactor is documented to fail, with the reason. The
    reactor's module lists them as C{CONFORMANCE_EXCEPTIONS}.
  - I{job}: one module of tests under one reactor.
  - I{orders}: the task of a process that runs tests.
  - I{verdict}: the comparison of the subject's outcomes with the control's.

Modules:

  - L{iodemo.conformance.finding}: finds the class of a reactor by name
  - L{iodemo.conformance.inside}: is the process that runs tests
  - L{iodemo.conformance.reporting}: reports the outcomes from that process
  - L{iodemo.conformance.running}: starts such processes and reads their reports
  - L{iodemo.conformance.verdict}: compares the outcomes
  - L{iodemo.conformance.conforming}: does all of these for one reactor
  - L{iodemo.conformance.showing}: prints a verdict, and the progress of the tests
  - L{iodemo.conformance.loops}: runs CPython's tests of asyncio on event loops
  - L{iodemo.conformance.insideloop}: is the process that does so for one module
  - L{iodemo.conformance.page}: writes the page of all backends' verdicts
"""
