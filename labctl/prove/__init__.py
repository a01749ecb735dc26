"""Breaks a lab on purpose, one mutation at a time, and demands that a scenario notices.

A test that cannot fail proves nothing. `catalogue` lists the mutations as data, `mutation` says
what one is made of, `breaking` puts it into the running servers and takes it out again, and
`proof` runs the scenarios in between.
"""
