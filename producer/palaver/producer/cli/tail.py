"""`palaver tail`: a session as it was and as it goes on."""

from palaver.producer import Client
from palaver.producer.cli.failures import warnings_told
from palaver.producer.cli.terminal import note, write
from palaver.producer.cli.transcript import Transcript
from palaver.shared.ledger.operations import session_owners


def run(session: str, *, after: int, as_json: bool) -> int:
    """Show every event after the cursor until Ctrl-C, which is how this command is meant to end."""
    transcript = Transcript(headers=True)
    try:
        with Client() as client, warnings_told(transcript.aside, as_json=as_json):
            events = client.events(session, after=after)
            if not client.ledger.query(session_owners(client.ledger.keys, [session]))[0].exists:
                note(f"Nothing is known of the session {session} yet; what happens in it will be shown.")
            for event in events:
                if as_json:
                    write(event.to_json().decode() + "\n")
                else:
                    transcript.show(event)
    except KeyboardInterrupt:
        transcript.end_line()
    return 0
