"""Puts onto a slot's subjects what no publisher of ours sends: another client library's view.

Arguments: the server's URL, the subject, and a file with one message a line: its `ce-id`, its
`Nats-Msg-Id` and its `tsunagi-recorded-at`, or `-` for none, and its body in hex. Prints
`sequence duplicate` for each.
"""

import asyncio
import sys

import nats


async def main(url: str, subject: str, messages: str) -> None:
    client = await nats.connect(url)
    stream = client.jetstream()
    with open(messages, encoding="ascii") as lines:
        for line in lines:
            event, message, recorded, body = line.split(" ")
            headers = {"ce-id": event, "Nats-Msg-Id": message, "tsunagi-recorded-at": recorded}
            headers = {name: value for name, value in headers.items() if value != "-"}
            ack = await stream.publish(subject, bytes.fromhex(body), headers=headers or None)
            print(ack.seq, bool(ack.duplicate))
    await client.close()


asyncio.run(main(*sys.argv[1:]))
