"""Runs programs in other languages as applications, to their end."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

LIMIT = 30.0  # seconds; only a safety net


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    status: int
    stdout: str
    stderr: str


async def run(program: str, *arguments: str | Path) -> Ended:
    """Run a program to its end, without anything from the environment that could lead it elsewhere."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        async with asyncio.timeout(LIMIT):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, stdout.decode(), stderr.decode())
