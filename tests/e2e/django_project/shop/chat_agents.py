"""The agents of document 003's examples: the same calls, with a shop around them."""

import logging
import os

from django.contrib.auth import get_user_model
from pydantic import BaseModel

from palaver.workers.agents import Agent, ResponseStream, display_widget, get_file_text, with_context

logger = logging.getLogger(__name__)


class SupportAgent(Agent):
    """The quick start."""

    class Context(BaseModel):
        user_id: int = 0
        user_email: str = ""
        conversation_stage: str = "greeting"

    def create_context(self):
        return self.Context(
            user_id=self.user.id if self.user else 0, user_email=self.user.email if self.user else ""
        )

    async def get_response(self, message: str, session_context: dict, **kwargs):
        if "hello" in message.lower():
            return "Hello! How can I help you today?"
        if "who" in message.lower():
            return f"{self.context.user_id} {self.context.user_email} {self.context.conversation_stage}"
        return "I'm here to help with your support needs."


async def call_your_ai(message):
    return f"You have said: {message}"


class StreamingAgent(Agent):
    async def get_response(self, message, session_context, **kwargs):
        with ResponseStream() as stream:
            stream.write("Let me think... ")
            response = await call_your_ai(message)
            for chunk in response.split():
                stream.write(chunk + " ")
        return stream.content


class StartedAgent(Agent):
    """The reference of `ResponseStream`."""

    async def get_response(self, message, session_context, **kwargs):
        with ResponseStream() as stream:
            stream.start(metadata={"mood": "good"})
            stream.write("whole")
            stream.end()
        return stream.content


class AppointmentAgent(Agent):
    async def get_response(self, message, session_context, **kwargs):
        if "book appointment" in message.lower():
            display_widget(
                "appointment_form",
                {
                    "available_slots": ["2027-01-15 10:00", "2027-01-15 14:00"],
                    "callback_url": "/api/book-appointment",
                },
            )
            return "Please select your preferred appointment time."
        return "Say: book appointment."


class DocumentsAgent(Agent):
    async def get_response(self, message, session_context, **kwargs):
        if hasattr(self, "files") and self.files:
            file_responses = []
            for file in self.files:
                text = get_file_text(file.id)
                if text:
                    file_responses.append(f"From {file.filename}: {text[:200]}...")
            return "I've analyzed your files:\n" + "\n".join(file_responses)
        return "Upload a document and I'll analyze it for you."


class SalesAgent(Agent):
    class Context(BaseModel):
        user_id: int
        subscription_tier: str = "free"

    def create_context(self):
        return self.Context(user_id=self.user.id, subscription_tier="premium" if self.user.email else "free")

    @with_context()
    def check_user_eligibility(self, product_id: str, user_id: int, subscription_tier: str):
        if subscription_tier == "premium":
            return f"User {user_id} can access {product_id}"
        return "Upgrade required"

    async def get_response(self, message, session_context, **kwargs):
        if "check eligibility" in message:
            return self.check_user_eligibility(product_id="pro-features")
        return "Say: check eligibility."


async def my_agent(message: str, session_context: dict, **kwargs):
    return "Simple response"


class CarefulAgent(Agent):
    """The pattern for errors; `careless/` leaves it out."""

    careful = True

    async def your_processing(self, message):
        raise RuntimeError(message)

    async def get_response(self, message, session_context, **kwargs):
        if not self.careful:
            return await self.your_processing(message)
        try:
            return await self.your_processing(message)
        except Exception:
            logger.exception("Agent error")
            return "Sorry, I encountered an error. Please try again."


class CarelessAgent(CarefulAgent):
    careful = False


class PersistentAgent(Agent):
    """Updates of the context."""

    class Context(BaseModel):
        persistent_data: str

    def create_context(self):
        return self.Context(persistent_data="here")

    async def get_response(self, message, session_context, **kwargs):
        current_user = session_context.get("user_id")
        guest, custom = session_context.get("anonymous_id"), session_context.get("custom")
        return f"{self.context.persistent_data} {current_user} {guest} {custom}"


class OptimizedAgent(Agent):
    def __init__(self):
        self.cached_data = f"loaded by {os.getpid()}"
        with open(os.environ["SHOP_LOADS"], "a", encoding="utf-8") as loads:
            loads.write(f"{os.getpid()}\n")

    def process_with_cache(self, message):
        return f"{message}: {self.cached_data}"

    async def get_response(self, message, session_context, **kwargs):
        return self.process_with_cache(message)


class CountingAgent(Agent):
    """Runs in a thread, and asks the project's database there."""

    def get_response(self, message, session_context, **kwargs):
        return f"{get_user_model().objects.count()} users, {kwargs['number']}"
