r"""Views of a transcript: terminal, JSON lines, JUnit and HTML.

This room knows the events and nothing else of labctl: no lab, no network, no settings. So a run
looks the same live and when its stored transcript is rendered again years later.

===========  ==================================================================================
`jsonl`      the transcript itself, one event a line: written as it happens, read back
`terminal`   lines for people, as the events arrive; colour only where it is wanted
`junit`      JUnit XML for a CI server
`html`       one self-contained page to keep or to send; `chart` is its picture of the time
`views`      any of them, by name or by the ending of a file
===========  ==================================================================================

Beneath them: `run` gathers events into steps, cases and the sums of a run, `replay` reads a run as
often as a view wants, so that none is held whole; `wording` holds the words and the escapes that
the views share, `ink` writes them plainly, and `colour` on a terminal, with rich.

Text from a server is never trusted: every view shows control characters as escapes (`\x1b`).
Heavy libraries (rich, jinja2) are imported where they are used, since start-up counts.
"""
