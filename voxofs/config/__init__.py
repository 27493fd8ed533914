"""Settings: the file, the environment, the words of a mount; checked once, and secrets held so that nothing
shows them.

What is set is said here; what it means is said where it is used.
"""
