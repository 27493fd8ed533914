"""Tests of the simulator: it keeps the vendor's and the storage's promises, as a plain HTTP client sees them.

asking    how a plain client asks, and a tenant written by hand
conftest  a simulator with a clock to set, and a client
"""
