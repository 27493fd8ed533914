"""voxofs: a phone system's call recordings, mounted as a drive."""

__version__ = "0.1.0"
