"""Configuration files for the commands under test."""

from pathlib import Path

SECRET = "s3cret-of-the-shop"


def written(path: Path, *, port: int = 0, shops: str = "", token_url: str, api_url: str, level: str = "info") -> Path:
    """Write a configuration with the shop `demo` on a platform of one's own, and `shops` after it."""
    path.write_text(
        f"""
[server]
port = {port}
[admin]
port = 0
[logging]
level = "{level}"
[shops.demo]
platform = "mine"
client_id = "demo-id"
client_secret = "{SECRET}"
{shops}
[platforms.mine]
token_url = "{token_url}"
token_request = "json"
api_url = "{api_url}"
allow_private = true
"""
    )
    return path


def leading_here(path: Path, *, port: int = 0) -> Path:
    """Write a configuration of a platform in public whose token endpoint has come to be on this machine."""
    written(path, port=port, token_url="https://localhost/token", api_url="https://8.8.8.8/")
    path.write_text(path.read_text().replace("allow_private = true\n", ""))
    return path
