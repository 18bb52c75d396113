"""Put a benchmark to a responder and keep what it says: run folders, resumed, timed, opened again."""
