"""Whom TLS believes: whom the machine does, and a private authority besides."""

from __future__ import annotations

import ssl
from pathlib import Path

from voxofs.errors import ConfigError


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """A context with the machine's authorities, or those of $SSL_CERT_FILE and $SSL_CERT_DIR in their place
    (OpenSSL's own doing, SSL_CTX_set_default_verify_paths(3)), and with those of a file in PEM. Raises
    ConfigError where that file has none."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:
            raise ConfigError(
                [f"{ca_file}: holds no certificate (PEM); [api] ca_file names the file with your authority's"]
            ) from None
        except OSError as error:
            raise ConfigError(
                [f"{ca_file}: cannot be read: {error.strerror}; [api] ca_file names it"]
            ) from None
    return context
