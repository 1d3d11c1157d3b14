"""A program of the release before: submits, reads, repeats, says what it got. Its argument is the model."""

import json
import sys
from contextlib import suppress

import palaver.shared
from palaver.producer import Client
from palaver.shared.errors import JobCancelledError

model = sys.argv[1]
with Client() as client:
    script = json.dumps({"n": 30, "rate": 100})
    jobs = [client.submit(script, model=model, session_id=f"old-{number}") for number in range(10)]
    texts = [job.result(timeout=60).content for job in jobs]
    kinds = [event.type for event in jobs[0].events(after=0)]
    talk = [
        client.submit(text, model=model, session_id="talk").result(timeout=60)
        for text in ('{"n": 1}', '{"n": 2}')
    ]
    keyed = client.submit('{"n": 3}', model=model, idempotency_key="once")
    keyed.result(timeout=60)
    endless = client.submit('{"n": 2000, "rate": 20}', model=model)
    next(iter(endless))
    endless.cancel()
    with suppress(JobCancelledError):
        endless.result(timeout=60)
    print(
        json.dumps(
            {
                "from": palaver.shared.__file__,
                "texts": texts,
                "kinds": kinds,
                "talk": [response.content for response in talk],
                "keyed": keyed.job_id,
                "cancelled": str(client.job(endless.job_id).status),
            }
        )
    )
