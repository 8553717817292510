"""`shop-auth-proxy`, and `python -m proxy`: Ctrl-C ends it without a traceback, also while it is being loaded."""

import sys


def main() -> int:
    """Run one command and return the exit status."""
    try:
        from proxy.cli import main as run  # noqa: PLC0415 - so that Ctrl-C may come meanwhile

        return run()
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells have it


if __name__ == "__main__":
    sys.exit(main())
