"""The texts below `--help`: what to type, with examples that work as they stand."""

MAIN = """
start here:
  voxofs demo                              try it without an account: a simulated phone system, mounted
  voxofs check                             is everything ready for a mount? says what to do if not
  voxofs mount ~/calls                     mount; returns once the mount answers
  ls ~/calls/demo/2024/03/05/10            the calls of an hour
  voxofs stats ~/calls --watch             what the mount is doing
  voxofs umount ~/calls                    unmount

configuration: --config FILE, else ~/.config/voxofs/voxofs.toml, else /etc/voxofs/voxofs.toml:
  [api]
  token_file = "/etc/voxofs/token"         # chmod 600; or set $VOXOFS_TOKEN
  [tenants.demo]                           # the folder's name
  id = 37                                  # the tenant's number
  since = 2021-01-01                       # first day shown

exit codes: 0 done, 1 usage or configuration, 2 system, 32 the mount failed
"""
MOUNT = """
examples:
  voxofs mount ~/calls
  voxofs mount --foreground -o memory=1GiB ~/calls
  voxofs mount --config office.toml -o allow_other,gid=audio,file_mode=0440,dir_mode=0550 /srv/calls

-o takes any key of the configuration file: `-o cache.memory=1GiB`, or the key alone where only one section
has it, `-o memory=1GiB`. Words of other mounts (ro, nodev, _netdev, nofail, x-systemd.automount, …) are
accepted. It overrides the environment (VOXOFS_CACHE_MEMORY=1GiB), and that overrides the file.

in /etc/fstab, where mount.voxofs is installed:
  /etc/voxofs/voxofs.toml  /srv/calls  voxofs  _netdev,nofail,x-systemd.automount,allow_other  0  0
"""
UMOUNT = """
example:
  voxofs umount ~/calls

A mount that is in use is not taken away; who uses it is told. --lazy takes it away at once and lets go of
it when its last user has closed.
"""
DEMO = """
examples:
  voxofs demo                              mounts below the temporary folder and says where
  voxofs demo ~/calls                      mounts there

Starts a simulated phone system on this machine, mounts it and shows what to try. Needs no account and no
network. Ctrl-C unmounts and cleans up.
"""
CHECK = """
examples:
  voxofs check
  voxofs check --config office.toml ~/calls

Exit codes: 0 nothing is broken, 1 the configuration is, 2 something else is.
"""
STATS = """
examples:
  voxofs stats ~/calls
  voxofs stats ~/calls --watch             every second, until Ctrl-C
  voxofs stats ~/calls --json | jq .cache
"""
HELPER = """
mount(8) calls this for `mount -t voxofs SOURCE MOUNTPOINT` and for lines of /etc/fstab. SOURCE is a
configuration file, or the name of one of the configured tenants (then only that one is shown), or anything
else, which is then just the name of the mount.

examples:
  mount -t voxofs voxofs /srv/calls
  mount -t voxofs /etc/voxofs/office.toml /srv/calls -o allow_other
  mount -t voxofs demo /srv/demo -o config=/etc/voxofs/office.toml
"""
