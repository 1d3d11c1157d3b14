"""A visit to the shop: document 003's calls, in a process of the project. Prints what came of them."""

import json
import sys

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402 - after the set-up, as Django wants it
from django.core.management import call_command  # noqa: E402
from django.test import Client as Browser  # noqa: E402

from palaver.producer import Client  # noqa: E402
from palaver.producer.django import (  # noqa: E402
    ConversationMessage,
    ConversationService,
    ConversationSession,
)
from palaver.producer.interfaces import Conversations  # noqa: E402

call_command("migrate", verbosity=0)
user = get_user_model().objects.create_user("ann", email="ann@example.com", password="tea")
conversations = Conversations.of_process()
told = {}


def ask(agent_path, message, **fields):
    session = ConversationService.create_session(agent_path=agent_path, user=user)
    return conversations.send_message(session.id, message, user, **fields)


browser = Browser()
browser.force_login(user)
told["request"] = browser.post("/ask/", {"agent": "support/", "message": "I need help"}).json()
told["guest"] = Browser().post("/ask/", {"agent": "support/", "message": "Who am I?"}).json()
told["async"] = browser.post("/aask/", {"agent": "support/", "message": "Hello"}).json()

told["who"] = ask("support/", "Who am I?")["response"]
streaming = ask("streaming/", "tea")
told["streaming"], told["streaming_session"] = streaming["response"], streaming["session_id"]
told["started"] = ask("started/", "x")["response"]
told["sales"] = ask("sales/", "check eligibility")["response"]
told["simple"] = ask("simple/", "x")["response"]
told["careful"] = ask("careful/", "x")["response"]
told["careless"] = ask("careless/", "x")
told["optimized"] = [ask("optimized/", "x")["response"] for _ in range(5)]
told["count"] = [ask("count/7/", "x")["response"], ask("year/2027/", "x")["response"]]

with Client() as client:
    file = client.files.upload(b"Tea is a drink.", filename="tea.txt", user=str(user.pk))
told["documents"] = ask("documents/", "x", files=[file.id])["response"]

appointment = ConversationService.create_session(agent_path="appointments/", user=user)
ConversationService.send_message(session_id=appointment.id, message="Book appointment", user=user)
told["appointment"] = [
    (message.message_type, message.content or message.component_type)
    for message in conversations.messages(appointment.id, user=user).items
]

session = ConversationSession.objects.create(
    agent_path="persistent/",
    user=None,
    anonymous_id="guest_123",
    context={"custom": "data", "user_id": "mallory"},
    status="active",
)
told["persistent"] = ConversationService.send_message(session_id=session.id, message="x")
message = ConversationMessage.objects.create(
    session=session,
    message_type="user",
    content="Hello",
    component_type="",
    component_data={},
    files=[file],
)
told["message"] = [message.content, message.files, type(message).__name__, session.status]
told["messages"] = [m.content for m in conversations.messages(session.id, anonymous_id="guest_123").items]
try:
    ConversationService.create_session(agent_path="nowhere/", user=user)
except ValueError as error:
    told["nowhere"] = str(error)
wrong = [
    lambda: ConversationService.create_session(agent_path=None),
    lambda: ConversationSession.objects.create(agent_path=5),
    lambda: ConversationMessage.objects.create(session=session, message_type="user", files=5),
    lambda: ConversationMessage.objects.create(session=session, message_type="user", files=file.id),
]
told["wrong"] = []
for call in wrong:
    try:
        call()
    except ValueError as error:
        told["wrong"].append(str(error))
json.dump(told, sys.stdout)
