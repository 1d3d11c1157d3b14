"""`palaver tail`: a session as it was and as it goes on."""

from palaver.producer import Client
from palaver.producer.cli.terminal import write
from palaver.producer.cli.transcript import Transcript


def run(session: str, *, after: int, as_json: bool) -> int:
    """Show every event after the cursor until Ctrl-C, which is how this command is meant to end."""
    transcript = Transcript(headers=True)
    try:
        with Client() as client:
            for event in client.events(session, after=after):
                if as_json:
                    write(event.to_json().decode() + "\n")
                else:
                    transcript.show(event)
    except KeyboardInterrupt:
        transcript.end_line()
    return 0
