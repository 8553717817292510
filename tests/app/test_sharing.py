"""What replicas share is opened as `[shared]` says, and without it nothing of it is imported."""

import subprocess
import sys

from proxy.app.sharing import client_of
from proxy.config import SharedConfig
from proxy.secret import Secret


def test_without_the_table_no_library_for_it_is_imported() -> None:
    code = (
        "import proxy.commands.serve, proxy.app, sys;"
        "print([name for name in ('redis', 'cryptography', 'proxy.shared') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout == "[]\n"


async def test_the_client_has_the_password_from_its_own_setting() -> None:
    client = client_of(SharedConfig(url=Secret("redis://user@redis.internal:6380/2"), password=Secret("s3cret")))
    settings = client._redis.connection_pool.connection_kwargs
    await client.close()

    assert (settings["host"], settings["port"], settings["db"]) == ("redis.internal", 6380, 2)
    assert (settings["username"], settings["password"]) == ("user", "s3cret")
