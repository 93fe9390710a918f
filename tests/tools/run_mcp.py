"""Speak MCP with mcp-clickhouse, as an assistant does; prints its answers as JSON."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main() -> None:
    """Call each tool that is named by an argument: NAME=JSON."""
    server = StdioServerParameters(
        command=str(Path(sys.executable).with_name("mcp-clickhouse")), env=dict(os.environ)
    )
    found: dict[str, Any] = {}
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        found["tools"] = sorted(each.name for each in (await session.list_tools()).tools)
        answers = []
        for word in sys.argv[1:]:
            name, _, arguments = word.partition("=")
            answer = await session.call_tool(name, json.loads(arguments))
            text = "".join(getattr(each, "text", "") for each in answer.content)
            failed = getattr(answer, "is_error", getattr(answer, "isError", None))
            answers.append({"failed": bool(failed), "text": text})
        found["answers"] = answers
    print(json.dumps(found))


asyncio.run(main())
