"""Owns what the app under attack and its attackers both know: names, limits, times."""

AUDIENCE = "attacked"
ISSUER = "https://issuer.example"
COOKIE = "token"
LATE_S = 1.5
IDLE_S = 2.0
LIFETIME_S = 2.0
MAX_MESSAGE = 1 << 20
MESSAGES_PER_S = 5
BYTES_PER_S = 10_000
BURST = 3
RPS = 0.001  # nothing comes back while a test lasts
PARTNER = "https://partner.example"
BUECHER = "https://b\u00fccher.example:8443"
