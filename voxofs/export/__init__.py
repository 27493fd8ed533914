"""The front end without a mount: recordings and a manifest into a folder, records as lines.

It says which recordings are meant (paths, `--where`), brings them to disk and keeps account of them. It asks
nobody by itself: records come from the catalog, audio from the audio room. It prints nothing.
"""
