"""What a person types: one file a command, the words behind `-o`, help texts, exit codes.

Nothing is decided here about recordings or mounts: a command reads its words, calls the room below and turns
what comes back into lines and an exit code. Heavy rooms are imported when a command runs, not before.
"""
