"""A proxy in front of the servers: an nginx that ends TLS, a port for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from caches import free_port, nginx, running
from certificates import make_certificate

__all__ = ["ended_tls"]

_HTTP = """\
  ssl_certificate {certificate};
  ssl_certificate_key {key};
  proxy_http_version 1.1;
  proxy_buffering off;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $upgraded;
  map $http_upgrade $upgraded {{ "" ""; default upgrade; }}
{servers}"""


@contextmanager
def ended_tls(folder: Path, sites: Sequence[int]) -> Iterator[tuple[list[int], Path]]:
    """Run the proxy while the block runs.

    Args:
        folder: an empty one.
        sites: the ports of the servers.

    Yields:
        The ports, each in front of the server in the same place, and the certificate.
    """
    certificate, key = make_certificate(folder)
    ports = [free_port() for _ in sites]
    servers = "\n".join(
        f"  server {{ listen 127.0.0.1:{port} ssl; location / {{ proxy_pass http://127.0.0.1:{site}; }} }}"
        for port, site in zip(ports, sites, strict=True)
    )
    command = nginx(folder, _HTTP.format(certificate=certificate, key=key, servers=servers))
    with running(command, folder, ports[0]):
        yield ports, certificate
