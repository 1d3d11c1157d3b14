"""The chat page at `/`: static files, and the headers that keep what models write from doing harm."""
