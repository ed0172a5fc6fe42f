"""DingTalk's official Stream client (dingtalk-stream), as a second opinion of the gateway that tests stand on.

Arguments: the address of the API, the app's key and secret. It takes each message until standard input ends, and
then tells them on standard output as one JSON object, in the order in which it took them. Its handler fails on purpose
at the first message, which the gateway has to bring again.
"""

import asyncio
import json
import os
import sys
import types

address, key, secret = sys.argv[1:]
os.environ["DINGTALK_OPENAPI_ENDPOINT"] = address
# Its cards alone use aiohttp, which brings ten packages along.
sys.modules["aiohttp"] = types.ModuleType("aiohttp")

import dingtalk_stream  # noqa: E402
from dingtalk_stream import AckMessage, ChatbotMessage  # noqa: E402


class Taking(dingtalk_stream.ChatbotHandler):
    def __init__(self):
        super().__init__()
        self.taken, self.failed = [], []

    async def process(self, callback):
        message = ChatbotMessage.from_dict(callback.data)
        if not self.failed:
            self.failed.append(message.message_id)
            return AckMessage.STATUS_SYSTEM_EXCEPTION, "on purpose"
        self.taken.append({"id": message.message_id, "text": message.text.content.strip()})
        return AckMessage.STATUS_OK, "OK"


async def main():
    handler = Taking()
    client = dingtalk_stream.DingTalkStreamClient(dingtalk_stream.Credential(key, secret))
    client.register_callback_handler(ChatbotMessage.TOPIC, handler)
    running = asyncio.create_task(client.start())
    await asyncio.to_thread(sys.stdin.read)
    assert not running.done()
    print(json.dumps({"taken": handler.taken, "failed": handler.failed}), flush=True)
    # It takes its own cancellation for trouble on the network and dials again.
    os._exit(0)


asyncio.run(main())
