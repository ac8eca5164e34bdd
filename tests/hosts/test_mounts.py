"""Sites that are mounted in another application, in each server, which may lie under a root path itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from asgi import mentions_vendor, rows

from hosts.driver import choose
from hosts.limits import PAIRS, SERVERS
from hosts.served import ROOT, Served

# uvicorn puts its root path before the path that it is asked for; the others are asked for all of it
KEEPS_ROOT = [server for server in SERVERS if server != "uvicorn"]


@pytest.fixture(scope="module", params=SERVERS)
def mounted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bytecode: Path
) -> Iterator[tuple[str, str, Path]]:
    """A server, told by its own option where it lies; its name, its address and the folder of its ledgers."""
    folder = tmp_path_factory.mktemp("mounted")
    settings = {"HOSTS_LEDGERS": str(folder)}
    one = Served(request.param, "hosts.mounted_app:app", bytecode, settings, has_root=True)
    try:
        one.wait_until_up()
        yield request.param, one.address, folder
    finally:
        one.end()
        one.wait_until_ended()


def test_mounted_sites_ask(mounted: tuple[str, str, Path]) -> None:
    """Each site's notice sends its choice to the site's own place, where it is taken and recorded."""
    server, address, folder = mounted
    for framework in (framework for one, framework in PAIRS if one == server):
        place = f"/{framework}"
        asked = f"{ROOT}{place}" if server in KEEPS_ROOT else place
        with httpx.Client(base_url=address, trust_env=False, headers={"accept": "text/html"}) as client:
            page = client.get(f"{asked}/").text
            assert f'action="{ROOT}{place}/privacy-choices"' in page, framework
            lost = client.get(f"{asked}/lost/%C3%A9%2Fb?c=d%2Fe").text
            assert f'name="return" value="{ROOT}{place}/lost/%C3%A9%2Fb?c=d%2Fe"' in lost, framework
            assert choose(client, "grant_all", f"{asked}/privacy-choices").status_code == 200
            assert mentions_vendor(client.get(f"{asked}/").text) != []
            assert client.get(f"{asked}/measured").json() == {"measured": True}
        assert [row["state"] for row in rows(folder / f"{framework}.db")] == ["given"]
