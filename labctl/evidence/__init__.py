"""The evidence of a run, as one file that can be kept, sent and verified without labctl.

=========== ======================================================================================
`snapshot`  what the stack is like before and after: entries, configuration, versions, clocks
`masking`   leaves out passwords: by the name that they stand behind, and wherever they turn up
`statement` the whole: verdicts, what differs, what was left out; the members of the bundle
`readme`    README.txt, which explains the rest
`bundle`    the archive: the same members are the same bytes, and every one is in the manifest
`verify`    whether a bundle is whole
=========== ======================================================================================
"""
