"""Real shared caches in front of applications: nginx and Varnish, on free ports, in folders of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["CACHES", "free_port", "in_front_of", "nginx", "running"]

_START_SECONDS = 20.0

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
{http}
}}
"""
_CACHE = """  proxy_cache_path {folder}/cache keys_zone=all:1m;
  upstream site {{ {servers} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://site;
      proxy_set_header Host $http_host;
      proxy_cache all;
      add_header X-Cache $upstream_cache_status always;
    }}
  }}"""
# What sites do that have pages for everyone and pages of a visitor's own: look up all, believe the headers.
_VARNISH = """\
vcl 4.1;
import directors;
{backends}
sub vcl_init {{ new site = directors.round_robin(); {added} }}
sub vcl_recv {{
  set req.backend_hint = site.backend();
  if (req.method == "GET" || req.method == "HEAD") {{ return (hash); }}
  return (pass);
}}
sub vcl_deliver {{
  if (obj.hits > 0) {{ set resp.http.X-Cache = "HIT"; }} else {{ set resp.http.X-Cache = "MISS"; }}
}}
"""


def nginx(folder: Path, http: str) -> list[str]:
    """Set an nginx up in this folder, with these lines for its ``http`` block; give the command."""
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, user=user, http=http))
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _nginx(folder: Path, port: int, sites: Sequence[int]) -> list[str]:
    servers = " ".join(f"server 127.0.0.1:{site};" for site in sites)
    return nginx(folder, _CACHE.format(folder=folder, port=port, servers=servers))


def _varnish(folder: Path, port: int, sites: Sequence[int]) -> list[str]:
    backends = "".join(
        f'backend b{at} {{ .host = "127.0.0.1"; .port = "{site}"; }}\n' for at, site in enumerate(sites)
    )
    added = " ".join(f"site.add_backend(b{at});" for at in range(len(sites)))
    (folder / "site.vcl").write_text(_VARNISH.format(backends=backends, added=added))
    return [
        *("varnishd", "-F", "-j", "none", "-T", "none", "-n", str(folder / "varnish"), "-s", "malloc,16m"),
        *("-a", f"127.0.0.1:{port}", "-f", str(folder / "site.vcl")),
    ]


CACHES: dict[str, Callable[[Path, int, Sequence[int]], list[str]]] = {"nginx": _nginx, "varnish": _varnish}


@contextmanager
def in_front_of(name: str, folder: Path, *sites: int) -> Iterator[int]:
    """Run a cache in front of applications on these ports, each asked in turn, while the block runs.

    Yields:
        The cache's port on 127.0.0.1.
    """
    port = free_port()
    with running(CACHES[name](folder, port, sites), folder, port):
        yield port


def free_port() -> int:
    """Give a port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def running(command: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    """Run a program of the distribution's, which will listen on a port, while the block runs."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    program = shutil.which(command[0], path=path)
    if program is None:
        pytest.skip(f"no {command[0]}: 'make test' installs it on Debian when root")
    log = (folder / "log").open("wb")
    process = subprocess.Popen([program, *command[1:]], stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder)
        yield
    finally:
        process.terminate()
        process.wait(_START_SECONDS)
        log.close()


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Knock until somebody answers."""
    end = time.monotonic() + _START_SECONDS
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        assert time.monotonic() < end, (folder / "log").read_text()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            raise AssertionError((folder / "log").read_text())
