"""Speed, latency, memory and size of exported models, on the machine that runs them. No torch here."""
