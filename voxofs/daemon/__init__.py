"""The process around a mount: preflight, fork, signals, the service manager, the kernel's table of mounts.

It knows that something is mounted and unmounted, not what: a mount is whatever satisfies `supervisor.Served`.
Nothing here may import trio, httpx or pyfuse3 before the fork.
"""
