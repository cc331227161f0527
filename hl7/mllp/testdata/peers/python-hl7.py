# python-hl7 as a server: what comes is printed, a line of JSON each.
import asyncio
import json

import hl7
from hl7.mllp import start_hl7_server


def show(kind, text):
    print(json.dumps({"kind": kind, "text": text}), flush=True)


async def serve(reader, writer):
    try:
        while not writer.is_closing():
            message = await reader.readmessage()
            show("message", str(message))
            writer.writemessage(message.create_ack())
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


async def main():
    server = await start_hl7_server(serve, host="127.0.0.1", port=0, encoding="utf-8")
    show("port", str(server.sockets[0].getsockname()[1]))
    async with server:
        await server.serve_forever()


asyncio.run(main())
