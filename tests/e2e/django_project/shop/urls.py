from django.http import JsonResponse
from django.urls import path

from palaver.producer.django import ConversationService


def ask(request):
    session = ConversationService.create_session(agent_path=request.POST["agent"], user=request.user)
    result = ConversationService.send_message(
        session_id=session.id, message=request.POST["message"], user=request.user
    )
    return JsonResponse(result)


async def ask_async(request):
    user = await request.auser()
    session = await ConversationService.acreate_session(agent_path=request.POST["agent"], user=user)
    message = request.POST["message"]
    return JsonResponse(await ConversationService.asend_message(session.id, message, user=user))


urlpatterns = [path("ask/", ask), path("aask/", ask_async)]
