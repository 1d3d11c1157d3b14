from django.urls import path, re_path

from .chat_agents import (
    AppointmentAgent,
    CarefulAgent,
    CarelessAgent,
    CountingAgent,
    DocumentsAgent,
    OptimizedAgent,
    PersistentAgent,
    SalesAgent,
    StartedAgent,
    StreamingAgent,
    SupportAgent,
    my_agent,
)

chat_urlpatterns = [
    path("support/", SupportAgent.as_view()),
    path("sales/", SalesAgent.as_view()),
    path("streaming/", StreamingAgent.as_view()),
    path("started/", StartedAgent.as_view()),
    path("appointments/", AppointmentAgent.as_view()),
    path("documents/", DocumentsAgent.as_view()),
    path("simple/", my_agent),
    path("careful/", CarefulAgent.as_view()),
    path("careless/", CarelessAgent.as_view()),
    path("persistent/", PersistentAgent.as_view()),
    path("optimized/", OptimizedAgent.as_view()),
    path("count/<int:number>/", CountingAgent.as_view()),
    re_path(r"^year/(?P<number>[0-9]{4})/$", CountingAgent.as_view()),
]
