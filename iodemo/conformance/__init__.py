"""
Any reactor against Twisted's own reactor tests, with Twisted's epoll reactor as
the control in the same environment.

Twisted writes its reactor tests once, as C{ReactorBuilder} classes, and stamps
them out for a list of reactors of its own. Here that list has one entry: the
reactor somebody asks about. A test that this reactor fails and the control
passes says something about the reactor; one that both fail says something about
the machine, or about the user who runs it.

  - L{iodemo.conformance.finding}: the class behind a name
  - L{iodemo.conformance.inside}: the process the tests run in
  - L{iodemo.conformance.running}: those processes, and what they report
  - L{iodemo.conformance.verdict}: what it means
  - L{iodemo.conformance.conforming}: all of these together
"""
