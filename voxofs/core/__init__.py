"""Paths in; attributes, entries and bytes out: what every front end stands on.

The tree, the looking ahead in it, and the one place where all objects below are built. No protocol of a front
end may be known here, and no HTTP.
"""
