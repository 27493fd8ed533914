"""The first front end: the core under FUSE.

Inodes, lookup counts, handles, kernel limits and calling processes live here and nowhere else; so does
pyfuse3. Nothing is decided here about recordings.
"""
