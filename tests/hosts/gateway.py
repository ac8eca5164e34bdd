"""A proxy in front of the servers: an nginx that ends TLS, a port for each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from caches import free_port, running
from certificates import make_certificate

__all__ = ["ended_tls"]

_NGINX = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
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
{servers}
}}
"""


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
    user = "user root;" if os.geteuid() == 0 else ""
    text = _NGINX.format(folder=folder, user=user, certificate=certificate, key=key, servers=servers)
    (folder / "nginx.conf").write_text(text)
    with running(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], folder, ports[0]):
        yield ports, certificate
