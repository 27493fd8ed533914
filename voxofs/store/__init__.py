"""What outlives the process: sealed audio on a disk, and the index of what is known.

Nothing here asks the network, knows a path of the tree or decides what is worth keeping: others offer and
ask. Nothing here raises into a reader, and nothing is written that is not sealed.
"""
