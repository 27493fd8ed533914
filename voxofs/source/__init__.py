"""Where recordings come from: the interface, the VOXO API as its one implementation, the storage behind the
links, and the credentials.

The wire form of reports and links is known here only; so are tokens. What leaves is in terms of `model`.
"""
