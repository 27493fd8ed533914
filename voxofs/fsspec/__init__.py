"""The second front end: recordings for Python programs and their engines, by fsspec, without a mount.

One core a process and configuration, in a thread of its own; this room brings calls to it and answers back,
and says in fsspec's words what the core says. Nothing is decided here about recordings, and nothing is cached
here.
"""
