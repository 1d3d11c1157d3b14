"""Sessions, their events, messages and jobs over HTTP."""
