"""The certificate authorities that radar trusts: those of the machine.

OpenSSL names them: the system's file and folder, or SSL_CERT_FILE and SSL_CERT_DIR if they are set.
Client libraries with a list of their own get these instead.
"""

import ssl
from pathlib import Path


def context() -> ssl.SSLContext:
    """Return a context that verifies a server's certificate and its name."""
    return ssl.create_default_context()


def authorities() -> str | None:
    """Return the machine's file of certificate authorities, or else its folder; None: neither."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return paths.cafile
    try:
        return paths.capath if paths.capath and any(Path(paths.capath).iterdir()) else None
    except OSError:
        return None
