"""How requests are sent: whose turn it is, what is asked once for many, when to try again, and HTTP itself.

Nothing here knows what is asked for. No exception of an HTTP library leaves this room.
"""
