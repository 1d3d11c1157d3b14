"""A service that has Celery and Redis and nothing of ours: hands in one job, prints its events.

python plain_client.py REDIS_URL SESSION_ID JOB_ID TEXT [RABBITMQ_URL]
"""

import json
import sys
from typing import Any

import redis
from celery import Celery

url, session_id, job_id, text, *rabbitmq = sys.argv[1:]
app = Celery(broker=url)
if rabbitmq:  # there is a queue of this kind there already
    app.conf.update(broker_url=rabbitmq[0], task_create_missing_queue_type="quorum")
job = {
    "session_id": session_id,
    "job_id": job_id,
    "model": "scripted/echo",
    "messages": [{"role": "user", "content": text}],
}
app.send_task("palaver.submit", args=[job], queue="palaver.submit")

client = redis.Redis.from_url(url, socket_timeout=None)
log = f"palaver:{{{session_id}}}:events"
last, done = "0-0", False
while not done:
    reply: Any = client.xread({log: last}, block=20_000)
    if not reply:
        sys.exit("no event within 20 s")
    for entry_id, fields in dict(reply)[log.encode()]:
        last = entry_id
        print(fields[b"e"].decode(), flush=True)
        done = done or json.loads(fields[b"e"])["type"] == "stream_end"
assert not [name for name in sys.modules if name.startswith("palaver")]
