"""The recordings' bytes: versions, leases on links, fetches, readahead, and blocks in memory.

One version's bytes never meet another's. Which calls exist is the catalog's business.
"""
