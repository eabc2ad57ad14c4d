"""The client for asyncio: the names of reprise.Client, with await and async for.

    import reprise.aio

    async with reprise.aio.Client("127.0.0.1:50051") as client:
        answer = client.generate("Once upon a time", max_new_tokens=64)
        async for chunk in answer:
            print(chunk.text, end="")

Each object is for the event loop in which it is first used. Values, errors and options are those of
reprise; so are the meanings of the methods, which reprise.Client and its parts document.
"""

from reprise.aio.admin import Admin
from reprise.aio.client import Client, Generation
from reprise.aio.namespace import Namespace
from reprise.aio.session import Grant, Lease, Session

__all__ = ["Admin", "Client", "Generation", "Grant", "Lease", "Namespace", "Session"]
