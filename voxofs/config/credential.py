"""Which kind of credential counts, where several are set: one at a time.

The highest layer that names a credential decides the kind, so that $VOXOFS_TOKEN wins over a file's
token_file; two kinds in one layer are a contradiction and an error.
"""

from __future__ import annotations

from .layers import Layer

_CREDENTIAL_KINDS = {"token": "token", "token_file": "token_file", "email": "login", "password_file": "login"}
_NO_CREDENTIAL = (
    'no credential is set: put token_file = "FILE" below [api] (or email and password_file), '
    "or set $VOXOFS_TOKEN"
)


def choose_credential(layers: list[Layer], settings: Layer, problems: list[str], missing: list[str]) -> None:
    """Leave one kind of credential in the settings: the one that the highest layer names."""
    for layer in reversed(layers):
        named = {key: layer["api", key] for key in _CREDENTIAL_KINDS if ("api", key) in layer}
        if not named:
            continue
        kinds = {_CREDENTIAL_KINDS[key] for key in named}
        if len(kinds) > 1:
            origins = ", ".join(setting.origin for setting in named.values())
            problems.append(
                f"more than one kind of credential ({origins}): keep one of token, token_file, "
                f"or email with password_file"
            )
        for key, kind in _CREDENTIAL_KINDS.items():
            if kind not in kinds:
                settings.pop(("api", key), None)
        break
    else:
        missing.append(_NO_CREDENTIAL)
        return
    email, password = settings.get(("api", "email")), settings.get(("api", "password_file"))
    if email and not password:
        problems.append(f"{email.origin}: needs password_file beside it, the file that holds the password")
    if password and not email:
        problems.append(f"{password.origin}: needs email beside it, the address to sign in with")
