"""Which calls exist: windows of two days, their hours, and who walks through them.

It asks a `Source` and keeps what it was told. Nothing is known here of audio.
"""
